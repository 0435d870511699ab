//! Whole-array operations, by ndarray (over rayon's threads) or candle, whichever is faster.

use crate::npy::{check, check_f32, Array};
use crate::{Maker, Step, Workloads};
use candle_core::{Device, Tensor, D};
use ndarray::{Array1, Array2, Axis, Zip};
use rayon::prelude::*;

fn floats(inputs: &[Array]) -> Vec<Array1<f32>> {
    inputs.iter().map(|x| Array1::from(x.f32())).collect()
}

/// out = body(a)
fn map1(inputs: Vec<Array>, body: impl Fn(f32) -> f32 + Sync + 'static) -> Step {
    let a = Array1::from(inputs[0].f32());
    let mut out = Array1::<f32>::zeros(a.len());
    Box::new(move |asked| {
        Zip::from(&mut out).and(&a).par_for_each(|y, &a| *y = body(a));
        asked.then(|| check_f32(out.as_slice().unwrap()))
    })
}

/// out = body(a, b)
fn map2(inputs: Vec<Array>, body: impl Fn(f32, f32) -> f32 + Sync + 'static) -> Step {
    let (a, b) = (Array1::from(inputs[0].f32()), Array1::from(inputs[1].f32()));
    let mut out = Array1::<f32>::zeros(a.len());
    Box::new(move |asked| {
        Zip::from(&mut out).and(&a).and(&b).par_for_each(|y, &a, &b| *y = body(a, b));
        asked.then(|| check_f32(out.as_slice().unwrap()))
    })
}

fn add_scalar_in_place(inputs: Vec<Array>, _: usize) -> Step {
    let mut a = Array1::from(inputs[0].f32());
    Box::new(move |asked| {
        a.par_mapv_inplace(|x| x + 0.5);
        asked.then(|| check_f32(a.as_slice().unwrap()))
    })
}

fn add_in_place(inputs: Vec<Array>, _: usize) -> Step {
    let mut all = floats(&inputs);
    let b = all.pop().unwrap();
    let mut a = all.pop().unwrap();
    Box::new(move |asked| {
        Zip::from(&mut a).and(&b).par_for_each(|x, &y| *x += y);
        asked.then(|| check_f32(a.as_slice().unwrap()))
    })
}

fn tanh_f64(inputs: Vec<Array>, _: usize) -> Step {
    let a = Array1::from(inputs[0].f64());
    let mut out = Array1::<f64>::zeros(a.len());
    Box::new(move |asked| {
        Zip::from(&mut out).and(&a).par_for_each(|y, a| *y = a.tanh());
        asked.then(|| check(out.as_slice().unwrap(), |x| x))
    })
}

/// A step of candle's operations on the inputs; its result may be of any dtype.
fn candle(
    inputs: Vec<Array>,
    f64: bool,
    run: fn(&[Tensor]) -> candle_core::Result<Tensor>,
) -> Step {
    let tensors: Vec<Tensor> = inputs
        .iter()
        .map(|x| match f64 {
            true => Tensor::from_vec(x.f64(), &x.shape[..], &Device::Cpu),
            false => Tensor::from_vec(x.f32(), &x.shape[..], &Device::Cpu),
        })
        .collect::<candle_core::Result<_>>()
        .expect("the inputs fit");
    Box::new(move |asked| {
        let out = run(&tensors).expect("candle runs it");
        asked.then(|| {
            let flat = out.flatten_all().and_then(|x| x.to_dtype(candle_core::DType::F64));
            check(&flat.and_then(|x| x.to_vec1::<f64>()).expect("a dtype of numbers"), |x| x)
        })
    })
}

fn softmax(x: &[Tensor]) -> candle_core::Result<Tensor> {
    let e = x[0].broadcast_sub(&x[0].max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

fn product(x: &[Tensor]) -> candle_core::Result<Tensor> {
    x[0].get(0)?.matmul(&x[0].get(1)?)
}

fn sum(inputs: Vec<Array>, _: usize) -> Step {
    let a = Array1::from(inputs[0].f32());
    Box::new(move |asked| {
        let chunks = a.axis_chunks_iter(Axis(0), 1 << 16).into_par_iter();
        let total: f32 = chunks.map(|x| x.sum()).sum();
        asked.then(|| check_f32(&[std::hint::black_box(total)]))
    })
}

fn matrix(inputs: &[Array]) -> Array2<f32> {
    Array2::from_shape_vec((inputs[0].shape[0], inputs[0].shape[1]), inputs[0].f32()).unwrap()
}

fn sum_axis<const AXIS: usize>(inputs: Vec<Array>, _: usize) -> Step {
    let m = matrix(&inputs);
    Box::new(move |asked| {
        let out = m.sum_axis(Axis(AXIS));
        asked.then(|| check_f32(out.as_slice().unwrap()))
    })
}

fn cumulative_sum(inputs: Vec<Array>, _: usize) -> Step {
    let a = Array1::from(inputs[0].f32());
    let mut out = a.clone();
    Box::new(move |asked| {
        out.assign(&a);
        out.accumulate_axis_inplace(Axis(0), |before, x| *x += before);
        asked.then(|| check_f32(out.as_slice().unwrap()))
    })
}

fn transpose(inputs: Vec<Array>, _: usize) -> Step {
    let m = matrix(&inputs);
    let mut out = Array2::<f32>::zeros(m.dim());
    Box::new(move |asked| {
        Zip::from(&mut out).and(m.t()).par_for_each(|y, &x| *y = x);
        asked.then(|| check_f32(out.as_slice().unwrap()))
    })
}

pub fn add(all: &mut Workloads) {
    let mut put = |name, by, make: Maker| all.insert(name, (by, make));
    put("add", "ndarray", |x, _| map2(x, |a, b| a + b));
    put("add scalar in place", "ndarray", add_scalar_in_place);
    put("add in place", "ndarray", add_in_place);
    put("fma chain", "ndarray", |x, _| {
        map2(x, |a, b| (0..8).fold(a, |y, _| y * b + a))
    });
    put("tanh(a*b+1)*exp(-a)", "ndarray", |x, _| map2(x, |a, b| (a * b + 1.0).tanh() * (-a).exp()));
    put("exp", "ndarray", |x, _| map1(x, f32::exp));
    put("log", "ndarray", |x, _| map1(x, f32::ln));
    put("sin", "ndarray", |x, _| map1(x, f32::sin));
    put("erf", "candle", |x, _| candle(x, false, |x| x[0].erf()));
    put("tanh f64", "ndarray", tanh_f64);
    put("softmax 1M f32", "candle", |x, _| candle(x, false, softmax));
    put("softmax 1M f64", "candle", |x, _| candle(x, true, softmax));
    put("softmax 1000x1000 rows", "candle", |x, _| candle(x, false, softmax));
    put("sum", "ndarray", sum);
    put("sum axis 0 of 4000x4000", "ndarray", sum_axis::<0>);
    put("sum axis 1 of 4000x4000", "ndarray", sum_axis::<1>);
    put("argmax", "candle", |x, _| candle(x, false, |x| x[0].argmax(0)));
    put("argmax axis 0 of 4000x4000", "candle", |x, _| candle(x, false, |x| x[0].argmax(0)));
    put("argmax axis 1 of 4000x4000", "candle", |x, _| candle(x, false, |x| x[0].argmax(1)));
    put("cumulative sum", "ndarray", cumulative_sum);
    put("transpose copy 4000x4000", "ndarray", transpose);
    for name in ["dot 256 f32", "dot 1024 f32", "dot 2048 f32", "dot 64 x 128x128"] {
        put(name, "candle", |x, _| candle(x, false, product));
    }
    for name in ["dot 256 f64", "dot 1024 f64", "dot 2048 f64"] {
        put(name, "candle", |x, _| candle(x, true, product));
    }
    put("conv 16x32x64x64", "candle", |x, _| candle(x, false, |x| x[0].conv2d(&x[1], 1, 1, 1, 1)));
}
