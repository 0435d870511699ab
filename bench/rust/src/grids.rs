//! Steps over a grid, by ndarray's zipped windows.

use crate::npy::{check, check_f32, Array};
use crate::{Maker, Step, Workloads};
use ndarray::{s, Array2, Zip};

fn grid<T: Copy>(values: Vec<T>, shape: &[usize]) -> Array2<T> {
    Array2::from_shape_vec((shape[0], shape[1]), values).unwrap()
}

fn stencil(inputs: Vec<Array>, steps: usize) -> Step {
    let mut now = grid(inputs[0].f32(), &inputs[0].shape);
    let mut next = now.clone();
    Box::new(move |asked| {
        for _ in 0..steps {
            Zip::from(next.slice_mut(s![1..-1, 1..-1]))
                .and(now.slice(s![1..-1, 1..-1]))
                .and(now.slice(s![..-2, 1..-1]))
                .and(now.slice(s![2.., 1..-1]))
                .and(now.slice(s![1..-1, ..-2]))
                .and(now.slice(s![1..-1, 2..]))
                .par_for_each(|y, &at, &up, &down, &left, &right| {
                    *y = at + 0.1 * (up + down + left + right - 4.0 * at);
                });
            std::mem::swap(&mut now, &mut next);
        }
        asked.then(|| check_f32(now.as_slice().unwrap()))
    })
}

fn life(inputs: Vec<Array>, steps: usize) -> Step {
    let start = grid(inputs[0].u8(), &inputs[0].shape);
    let (mut now, mut next) = (start.clone(), start.clone());
    let mut count = Array2::<u8>::zeros((start.nrows() - 2, start.ncols() - 2));
    Box::new(move |asked| {
        now.assign(&start);
        for _ in 0..steps {
            // A Zip takes six arrays: neighbours above and below first, then those beside.
            Zip::from(&mut count)
                .and(now.slice(s![..-2, ..-2]))
                .and(now.slice(s![..-2, 1..-1]))
                .and(now.slice(s![..-2, 2..]))
                .and(now.slice(s![2.., ..-2]))
                .and(now.slice(s![2.., 1..-1]))
                .par_for_each(|n, &a, &b, &c, &d, &e| *n = a + b + c + d + e);
            Zip::from(next.slice_mut(s![1..-1, 1..-1]))
                .and(&count)
                .and(now.slice(s![2.., 2..]))
                .and(now.slice(s![1..-1, ..-2]))
                .and(now.slice(s![1..-1, 2..]))
                .and(now.slice(s![1..-1, 1..-1]))
                .par_for_each(|y, &n, &f, &g, &h, &at| *y = u8::from((n + f + g + h) | at == 3));
            std::mem::swap(&mut now, &mut next);
        }
        asked.then(|| check(now.as_slice().unwrap(), f64::from))
    })
}

pub fn add(all: &mut Workloads) {
    let mut put = |name, make: Maker| all.insert(name, ("ndarray", make));
    put("stencil 4096x4096", stencil);
    put("life 4096x4096", life);
}
