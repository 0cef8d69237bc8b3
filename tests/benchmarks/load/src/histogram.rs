//! Counts of latencies, exact to under one per cent, in little memory however many there are.

const STEPS: u64 = 128;

#[derive(Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn add(&mut self, nanoseconds: u64) {
        let index = index(nanoseconds);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Microseconds below which this share lies; 0 if there is nothing.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut left = (self.total as f64 * share) as u64;
        for (index, count) in self.counts.iter().enumerate() {
            if *count > left {
                return middle(index) as f64 / 1000.0;
            }
            left -= count;
        }
        self.max_us()
    }

    pub fn max_us(&self) -> f64 {
        self.max as f64 / 1000.0
    }
}

/// Each power of two has `STEPS` cells; below that every value its own.
fn index(value: u64) -> usize {
    let shift = (63 - (value | STEPS).leading_zeros()) - STEPS.trailing_zeros();
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

fn middle(index: usize) -> u64 {
    let shift = (index as u64 / STEPS).saturating_sub(1);
    let low = (index as u64 - shift * STEPS) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_one_per_cent() {
        let mut histogram = Histogram::default();
        (0..1_000_000_u64).for_each(|value| histogram.add(value * 1000));
        for share in [0.001, 0.01, 0.5, 0.99, 0.999] {
            let exact = 1e6 * share;
            assert!((histogram.quantile(share) / exact - 1.0).abs() < 0.01, "{share}: {}", histogram.quantile(share));
        }
        assert_eq!(histogram.quantile(1.0), 999_999.0);
    }
}
