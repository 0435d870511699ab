use std::fs;

/// Sum, sum with changing weights, sum of magnitudes.
pub type Check = [f64; 3];

/// An array as a `.npy` file of version 1 holds it.
pub struct Array {
    pub shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    pub fn f32(&self) -> Vec<f32> {
        self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }
    pub fn f64(&self) -> Vec<f64> {
        self.bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }
    pub fn u32(&self) -> Vec<u32> {
        self.bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }
    pub fn u8(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

pub fn read(path: &str) -> Result<Array, String> {
    let file = fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    if !file.starts_with(b"\x93NUMPY\x01") {
        return Err(format!("{path}: no npy of version 1"));
    }
    let length = u16::from_le_bytes([file[8], file[9]]) as usize;
    let header = String::from_utf8_lossy(&file[10..10 + length]).into_owned();
    let dims = header.split(['(', ')']).nth(1).ok_or("no shape")?;
    let shape = dims.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    Ok(Array { shape, bytes: file[10 + length..].to_vec() })
}

pub fn check<T: Copy>(values: &[T], to: impl Fn(T) -> f64) -> Check {
    let mut sums = [0.0; 3];
    for (i, &value) in values.iter().enumerate() {
        let x = to(value);
        sums[0] += x;
        sums[1] += x * ((i % 1009 + 1) as f64 / 1009.0);
        sums[2] += x.abs();
    }
    sums
}

pub fn check_f32(values: &[f32]) -> Check {
    check(values, f64::from)
}
