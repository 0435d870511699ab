//! The workloads without a library: the standard library's and rayon's sorts, and loops written for
//! one task.

use crate::npy::{check, check_f32, Array};
use crate::{Maker, Step, Workloads};
use rayon::prelude::*;

fn sort(inputs: Vec<Array>, _: usize) -> Step {
    let x = inputs[0].f32();
    Box::new(move |asked| {
        let mut out = x.clone();
        out.par_sort_unstable_by(f32::total_cmp);
        asked.then(|| check_f32(&out))
    })
}

fn argsort(inputs: Vec<Array>, _: usize) -> Step {
    let x = inputs[0].f32();
    Box::new(move |asked| {
        let mut out: Vec<u32> = (0..x.len() as u32).collect();
        out.par_sort_unstable_by(|&a, &b| x[a as usize].total_cmp(&x[b as usize]));
        asked.then(|| check(&out, f64::from))
    })
}

fn scatter(inputs: Vec<Array>, body: fn(&mut f32, f32)) -> Step {
    let (mut a, index, v) = (inputs[0].f32(), inputs[1].u32(), inputs[2].f32());
    Box::new(move |asked| {
        for (&i, &x) in index.iter().zip(&v) {
            body(&mut a[i as usize], x);
        }
        asked.then(|| check_f32(&a))
    })
}

fn gather(inputs: Vec<Array>, _: usize) -> Step {
    let (a, index) = (inputs[0].f32(), inputs[1].u32());
    let mut out = vec![0.0; index.len()];
    Box::new(move |asked| {
        out.par_iter_mut().zip(&index).for_each(|(y, &i)| *y = a[i as usize]);
        asked.then(|| check_f32(&out))
    })
}

fn put_slice(inputs: Vec<Array>, steps: usize) -> Step {
    let (mut a, piece) = (inputs[0].f32(), inputs[1].f32());
    Box::new(move |asked| {
        let places = a.len() - piece.len();
        for i in 0..steps {
            let start = i * 7919 % places;
            a[start..start + piece.len()].copy_from_slice(&piece);
        }
        asked.then(|| check_f32(&a))
    })
}

fn while_loop(_: Vec<Array>, steps: usize) -> Step {
    Box::new(move |asked| {
        let (mut x, mut i) = (1u32, 0);
        while i < steps {
            x = std::hint::black_box(x.wrapping_mul(1664525).wrapping_add(1013904223));
            i += 1;
        }
        asked.then(|| check(&[x], f64::from))
    })
}

fn n_body(inputs: Vec<Array>, steps: usize) -> Step {
    let (start, m) = (inputs[0].f32(), inputs[1].f32());
    let n = m.len();
    Box::new(move |asked| {
        let mut p = start.clone();
        let mut v = vec![0.0f32; 3 * n];
        for _ in 0..steps {
            let pull: Vec<[f32; 3]> = (0..n)
                .into_par_iter()
                .map(|i| {
                    let (x, rest) = p.split_at(n);
                    let (y, z) = rest.split_at(n);
                    let mut sum = [0.0f32; 3];
                    for j in 0..n {
                        let d = [x[j] - x[i], y[j] - y[i], z[j] - z[i]];
                        let r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01;
                        let w = m[j] / (r2 * r2.sqrt());
                        for k in 0..3 {
                            sum[k] += d[k] * w;
                        }
                    }
                    sum
                })
                .collect();
            for i in 0..n {
                for k in 0..3 {
                    v[k * n + i] += 1e-4 * pull[i][k];
                    p[k * n + i] += 1e-2 * v[k * n + i];
                }
            }
        }
        asked.then(|| check_f32(&p))
    })
}

fn k_means(inputs: Vec<Array>, steps: usize) -> Step {
    const K: usize = 16;
    const D: usize = 8;
    type Sums = ([[f64; D]; K], [f64; K]);
    let points = inputs[0].f32();
    let merge = |mut a: Sums, b: Sums| {
        for k in 0..K {
            a.1[k] += b.1[k];
            for d in 0..D {
                a.0[k][d] += b.0[k][d];
            }
        }
        a
    };
    Box::new(move |asked| {
        let mut centres = points[..K * D].to_vec();
        for _ in 0..steps {
            let (sums, count) = points
                .par_chunks(D * 4096)
                .map(|block| {
                    let mut part: Sums = ([[0.0; D]; K], [0.0; K]);
                    for x in block.chunks_exact(D) {
                        let mut nearest = (f32::INFINITY, 0);
                        for k in 0..K {
                            let c = &centres[k * D..][..D];
                            let distance: f32 = (0..D).map(|d| (x[d] - c[d]) * (x[d] - c[d])).sum();
                            if distance < nearest.0 {
                                nearest = (distance, k);
                            }
                        }
                        part.1[nearest.1] += 1.0;
                        for d in 0..D {
                            part.0[nearest.1][d] += f64::from(x[d]);
                        }
                    }
                    part
                })
                .reduce(|| ([[0.0; D]; K], [0.0; K]), merge);
            for k in 0..K {
                for d in 0..D {
                    centres[k * D + d] = (sums[k][d] / count[k].max(1.0)) as f32;
                }
            }
        }
        asked.then(|| check_f32(&centres))
    })
}

fn logistic(inputs: Vec<Array>, steps: usize) -> Step {
    let x = inputs[0].u32();
    let mut out = vec![0; x.len()];
    Box::new(move |asked| {
        out.par_iter_mut().zip(&x).for_each(|(y, &x)| {
            *y = (0..steps).fold(x, |x, _| x.wrapping_mul(65536u32.wrapping_sub(x)) >> 14);
        });
        asked.then(|| check(&out, f64::from))
    })
}

fn sieve(_: Vec<Array>, steps: usize) -> Step {
    Box::new(move |asked| {
        let mut flags = vec![1u8; steps];
        flags[..2].fill(0);
        let mut p = 2;
        while p * p < steps {
            if flags[p] == 1 {
                flags[p * p..].iter_mut().step_by(p).for_each(|flag| *flag = 0);
            }
            p += 1;
        }
        let total: u32 = flags.par_iter().map(|&flag| u32::from(flag)).sum();
        asked.then(|| check(&[total], f64::from))
    })
}

pub fn add(all: &mut Workloads) {
    let mut put = |name, by, make: Maker| all.insert(name, (by, make));
    put("sort 1M", "rayon", sort);
    put("sort 16M", "rayon", sort);
    put("argsort 1M", "rayon", argsort);
    put("argsort 16M", "rayon", argsort);
    put("scatter put 1M into 16M", "loop", |x, _| scatter(x, |a, v| *a = v));
    put("scatter add 1M into 16M", "loop", |x, _| scatter(x, |a, v| *a += v));
    put("gather 1M of 16M", "loop", gather);
    put("put_slice of 1000 10000 times", "loop", put_slice);
    put("while of 1M turns", "loop", while_loop);
    put("n-body 1000", "loop", n_body);
    put("k-means 1Mx8", "loop", k_means);
    put("logistic map u32", "loop", logistic);
    put("sieve of 10^7", "loop", sieve);
}
