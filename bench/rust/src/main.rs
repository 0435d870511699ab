//! The workloads in Rust, with `ndarray`, `candle-core` and the standard library. The program
//! answers commands as bench/peers/runner.py describes them.

mod grids;
mod loops;
mod npy;
mod tensors;

use npy::{Array, Check};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

/// Does the work once more; gives the check only when asked, as it costs a pass.
pub type Step = Box<dyn FnMut(bool) -> Option<Check>>;
pub type Maker = fn(Vec<Array>, usize) -> Step;

/// The workloads with their library, or with "loop": a loop that is written for the workload only,
/// which is another limit and not a peer.
pub type Workloads = HashMap<&'static str, (&'static str, Maker)>;

fn load(all: &Workloads, words: &[&str]) -> Result<(Step, usize, String), String> {
    let (by, make) = all.get(words[1]).ok_or("not written")?;
    let steps = words[2].parse().map_err(|e| format!("{e}"))?;
    let calls = words[3].parse().map_err(|e| format!("{e}"))?;
    let inputs = words[4..].iter().map(|path| npy::read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut step = make(inputs, steps);
    let check = step(true).ok_or("no result")?;
    let [sum, weighted, magnitude] = check;
    let answer =
        format!(r#"{{"check": [{sum:e}, {weighted:e}, {magnitude:e}], "by": "{by}"}}"#);
    Ok((step, calls, answer))
}

fn main() {
    let mut all = Workloads::new();
    tensors::add(&mut all);
    grids::add(&mut all);
    loops::add(&mut all);
    let versions = "ndarray 0.17, candle-core 0.11";
    println!(r#"{{"runner": "Rust", "version": "{versions}"}}"#);
    let mut current: Option<(Step, usize)> = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split('\t').collect();
        let answer = if words[0] == "load" {
            current = None; // its memory first
            match load(&all, &words) {
                Ok((step, calls, answer)) => {
                    current = Some((step, calls));
                    answer
                }
                Err(why) => format!(r#"{{"absent": "{}"}}"#, why.replace('"', "'")),
            }
        } else if let Some((step, calls)) = current.as_mut() {
            let start = Instant::now();
            for _ in 0..*calls {
                step(false);
            }
            format!(r#"{{"ms": {}}}"#, start.elapsed().as_secs_f64() * 1e3 / *calls as f64)
        } else {
            r#"{"absent": "nothing is loaded"}"#.to_string()
        };
        println!("{answer}");
        std::io::stdout().flush().expect("the bench reads");
    }
}
