//! Complex numbers, as far as the key detector needs them.

/// A complex number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Phasor {
    pub re: f32,
    pub im: f32,
}

impl Phasor {
    /// e^jφ.
    pub fn of_angle(angle: f32) -> Self {
        let (im, re) = angle.sin_cos();
        Self { re, im }
    }

    /// Its square of magnitude.
    pub fn power(self) -> f32 {
        self.re * self.re + self.im * self.im
    }

    /// −π to π.
    pub fn angle(self) -> f32 {
        self.im.atan2(self.re)
    }

    pub fn conjugate(self) -> Self {
        Self { re: self.re, im: -self.im }
    }

    pub fn times(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }

    pub fn scaled(self, by: f32) -> Self {
        Self { re: self.re * by, im: self.im * by }
    }
}

/// Eight complex numbers side by side, laid out for the processor's vector instructions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Phasors {
    pub re: [f32; 8],
    pub im: [f32; 8],
}

impl Phasors {
    /// The `n`th.
    pub fn at(&self, n: usize) -> Phasor {
        Phasor { re: self.re[n], im: self.im[n] }
    }

    /// Adds the products of two.
    pub fn add_product(&mut self, a: &Self, b: &Self) {
        for n in 0..8 {
            self.re[n] += a.re[n] * b.re[n] - a.im[n] * b.im[n];
            self.im[n] += a.re[n] * b.im[n] + a.im[n] * b.re[n];
        }
    }
}
