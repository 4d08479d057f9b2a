//! Categories: how large a work may be, by a name that people agree on.
//!
//! A category has a ceiling for each limit. A work that names one gets its ceilings as the limits that it did not give, and
//! may give lower ones. The engine's operator says which there are; it resolves them once, when works are submitted, so
//! that templates, journals and workers know plain limits.

use serde::{Deserialize, Serialize};

use crate::template::{Invalid, Limits};
use crate::units::{Bytes, Millis};

/// One category. A ceiling of zero is none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Category {
    /// What works call it.
    pub name: String,
    /// Time from start to end.
    pub wall_clock: Millis,
    /// Memory, as [`Limits::memory`].
    pub memory: Bytes,
    /// What its folder may hold.
    pub disk: Bytes,
    /// The archive of its outputs.
    pub files: Bytes,
}

impl Category {
    /// Those of a pool whose operator names none: the times are the predecessor's catalogue, the rest grows with them.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let category = |name: &str, seconds, memory_mib, disk_mib, files_mib| Self {
            name: name.to_owned(),
            wall_clock: Millis::from_secs(seconds),
            memory: Bytes::from_mib(memory_mib),
            disk: Bytes::from_mib(disk_mib),
            files: Bytes::from_mib(files_mib),
        };
        vec![
            category("XS", 300, 1_024, 5_120, 100),
            category("S", 900, 2_048, 10_240, 200),
            category("M", 1_800, 4_096, 20_480, 500),
            category("L", 3_600, 8_192, 40_960, 1_024),
            category("XL", 7_200, 16_384, 81_920, 2_048),
        ]
    }

    /// Gives the limits that are not given (zero) the category's ceilings.
    ///
    /// # Errors
    /// The first limit that is above its ceiling, with both values.
    pub fn apply(&self, limits: &mut Limits) -> Result<(), Invalid> {
        let over = |field: &str, asked: String, ceiling: String| Invalid {
            field: format!("limits.{field}"),
            problem: format!(
                "is {asked}; works of category {} may have at most {ceiling}",
                self.name
            ),
        };
        if self.wall_clock.0 > 0 && limits.wall_clock > self.wall_clock {
            let (asked, ceiling) = (limits.wall_clock, self.wall_clock);
            return Err(over("wall_clock", asked.to_string(), ceiling.to_string()));
        }
        for (field, asked, ceiling) in [
            ("memory", limits.memory, self.memory),
            ("disk", limits.disk, self.disk),
            ("files", limits.files, self.files),
        ] {
            if ceiling.0 > 0 && asked > ceiling {
                return Err(over(field, asked.to_string(), ceiling.to_string()));
            }
        }
        let wall_clock = if self.wall_clock.0 > 0 {
            self.wall_clock
        } else {
            Limits::default().wall_clock
        };
        limits.fill(&Limits {
            wall_clock,
            memory: self.memory,
            disk: self.disk,
            files: self.files,
            ..*limits
        });
        Ok(())
    }
}

impl Limits {
    /// Gives those of time, memory, disk and files that are zero the values of `from`.
    pub fn fill(&mut self, from: &Self) {
        if self.wall_clock.0 == 0 {
            self.wall_clock = from.wall_clock;
        }
        for (limit, from) in [
            (&mut self.memory, from.memory),
            (&mut self.disk, from.disk),
            (&mut self.files, from.files),
        ] {
            if limit.0 == 0 {
                *limit = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Category {
        Category::defaults().remove(0)
    }

    #[test]
    fn limits_that_are_not_given_are_the_ceilings_and_lower_ones_stay() {
        let mut limits = Limits {
            wall_clock: Millis(0),
            memory: Bytes::from_mib(10),
            ..Limits::default()
        };
        small().apply(&mut limits).unwrap();
        assert_eq!(limits.wall_clock, Millis::from_secs(300));
        assert_eq!(limits.memory, Bytes::from_mib(10));
        assert_eq!(
            (limits.disk, limits.files),
            (Bytes::from_mib(5_120), Bytes::from_mib(100))
        );
    }

    #[test]
    fn a_limit_above_its_ceiling_is_refused_with_both_values() {
        let mut limits = Limits {
            memory: Bytes::from_mib(2_048),
            ..Limits::default()
        };
        let refused = small().apply(&mut limits).unwrap_err();
        assert_eq!(refused.field, "limits.memory");
        assert_eq!(
            refused.problem,
            "is 2.0 GiB; works of category XS may have at most 1.0 GiB"
        );
    }

    #[test]
    fn a_category_without_a_ceiling_leaves_the_limit_as_it_is() {
        let endless = Category {
            name: "any".to_owned(),
            ..Category::default()
        };
        let mut limits = Limits {
            wall_clock: Millis(0),
            memory: Bytes(1 << 50),
            ..Limits::default()
        };
        endless.apply(&mut limits).unwrap();
        assert_eq!(
            limits,
            Limits {
                memory: Bytes(1 << 50),
                ..Limits::default()
            }
        );
    }
}
