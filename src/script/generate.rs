//! Values by chance, for properties: generators, and how what fails is made smaller.
//!
//! A generator makes a value out of choices, each a number below some bound, where smaller choices make simpler values. Making
//! a value smaller is then making the list of choices shorter and its numbers smaller, whatever the generator.

use crate::script::chance::Chance;
use rhai::{Array, Dynamic, Map};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How a value is made.
#[derive(Clone, Debug)]
pub enum Generator {
    /// A whole number from the first to the second; the simplest is the nearest to zero.
    Int(i64, i64),
    /// `false` or `true`.
    Bool,
    /// A size in bytes up to this, often at a page or a power of two.
    Size(i64),
    /// A text of up to so many of these letters.
    Text(Rc<[char]>, u64),
    /// One of these; the first is the simplest.
    OneOf(Rc<[Dynamic]>),
    /// Some of these, in order; none is the simplest.
    Subset(Rc<[Dynamic]>),
    /// A list of so many, from the first to the second.
    List(Rc<Generator>, u64, u64),
    /// A map with a value for each key.
    Record(Rc<BTreeMap<String, Generator>>),
    /// A network: an address with its host bits zero, and a prefix of these lengths.
    Cidr(u8, u8),
    /// Limits of a control group.
    Limits,
    /// Mounts of a root, as `proc::exec` takes them.
    Mounts,
}

/// Where choices come from: chance, or a list of before.
#[derive(Debug)]
pub struct Choices {
    chance: Option<Chance>,
    given: Vec<u64>,
    taken: Vec<u64>,
}

impl Choices {
    /// By chance.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self { chance: Some(Chance::new(seed)), given: Vec::new(), taken: Vec::new() }
    }

    /// Those of a list; the simplest where it is at its end.
    #[must_use]
    pub const fn of_list(given: Vec<u64>) -> Self {
        Self { chance: None, given, taken: Vec::new() }
    }

    /// The choices that were made.
    #[must_use]
    pub fn taken(self) -> Vec<u64> {
        self.taken
    }

    fn below(&mut self, end: u64) -> u64 {
        let end = end.max(1);
        let choice = match &mut self.chance {
            Some(chance) => chance.below(end),
            None => self.given.get(self.taken.len()).copied().unwrap_or(0).min(end - 1),
        };
        self.taken.push(choice);
        choice
    }

    /// A number up to `most`: of every order of magnitude as often, at a page or a power of two now and then, and the greatest.
    fn magnitude(&mut self, most: u64) -> u64 {
        let choice = match &mut self.chance {
            Some(chance) => likely(chance, most),
            None => self.given.get(self.taken.len()).copied().unwrap_or(0).min(most),
        };
        self.taken.push(choice);
        choice
    }
}

/// Numbers that tend to break things are as likely as simple ones. What is chosen is the number itself: it is made smaller as such.
fn likely(chance: &mut Chance, most: u64) -> u64 {
    const PAGE: u64 = 4096;
    let bits = chance.below(u64::from(u64::BITS - most.leading_zeros()) + 1);
    let end = 1u64.checked_shl(u32::try_from(bits).unwrap_or(63)).unwrap_or(u64::MAX);
    let plain = chance.below(end);
    let beside = |number: u64, chance: &mut Chance| number.saturating_add(chance.below(3)).saturating_sub(1);
    let number = match chance.below(10) {
        0..=3 => plain,
        4 | 5 => chance.below(most.saturating_add(1)),
        6 => beside(plain / PAGE * PAGE, chance),
        7 => beside(end, chance),
        8 => 0,
        _ => most,
    };
    number.min(most)
}

impl Generator {
    /// Makes a value.
    pub fn make(&self, choices: &mut Choices) -> Dynamic {
        match self {
            Self::Int(least, most) => int(*least, *most, choices).into(),
            Self::Bool => (choices.below(2) == 1).into(),
            Self::Size(most) => int(0, *most, choices).into(),
            Self::Text(letters, most) => {
                let len = choices.magnitude(*most);
                let text: String = (0..len).map(|_| letters[pick(letters.len(), choices)]).collect();
                text.into()
            }
            Self::OneOf(values) => values[pick(values.len(), choices)].clone(),
            Self::Subset(values) => {
                // All, none and few are each as likely as anything between.
                let share = choices.below(5);
                let chosen = values.iter().filter(|_| choices.below(4) >= 4 - share.min(4));
                chosen.cloned().collect::<Array>().into()
            }
            Self::List(each, least, most) => {
                let len = least + choices.below(most - least + 1);
                (0..len).map(|_| each.make(choices)).collect::<Array>().into()
            }
            Self::Record(fields) => {
                let each = fields.iter().map(|(name, each)| (name.as_str().into(), each.make(choices)));
                each.collect::<Map>().into()
            }
            Self::Cidr(least, most) => {
                let prefix = least + u8::try_from(choices.below(u64::from(most - least) + 1)).unwrap_or(0);
                let host = 32 - u32::from(prefix);
                // Of 10.0.0.0/8 alone: addresses that are nobody's outside.
                let network = choices.below(1 << 24 >> host.min(24)) << host.min(24);
                let bits = 10 << 24 | u32::try_from(network).unwrap_or(0) & 0xff_ffff;
                format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(bits)).into()
            }
            Self::Limits => {
                let mut map = Map::new();
                if choices.below(2) == 0 {
                    map.insert("memory".into(), (int(8, 512, choices) << 20).into());
                }
                if choices.below(2) == 0 {
                    map.insert("pids".into(), int(1, 1024, choices).into());
                }
                if choices.below(3) == 2 {
                    map.insert("cpus".into(), Dynamic::from_float(int(1, 20, choices) as f64 / 10.0));
                }
                map.into()
            }
            Self::Mounts => mounts(choices),
        }
    }
}

fn pick(len: usize, choices: &mut Choices) -> usize {
    usize::try_from(choices.below(len as u64)).unwrap_or(0)
}

fn int(least: i64, most: i64, choices: &mut Choices) -> i64 {
    let up = |from: i64, most: i64, choices: &mut Choices| {
        from.saturating_add_unsigned(choices.magnitude(most.abs_diff(from)))
    };
    if least >= 0 {
        return up(least, most, choices);
    }
    if most <= 0 {
        return most.saturating_sub_unsigned(choices.magnitude(most.abs_diff(least)));
    }
    if choices.below(2) == 0 {
        up(0, most, choices)
    } else {
        0i64.saturating_sub_unsigned(choices.magnitude(least.unsigned_abs()))
    }
}

fn mounts(choices: &mut Choices) -> Dynamic {
    let mut list = Array::new();
    for number in 0..choices.below(4) {
        let mut map = Map::new();
        let kind = ["tmpfs", "proc", "mqueue"][pick(3, choices)];
        map.insert("type".into(), kind.into());
        map.insert("target".into(), format!("/mnt{number}").into());
        let known: Array = ["ro", "nosuid", "nodev", "noexec"].map(Dynamic::from).into();
        map.insert("options".into(), Generator::Subset(known.into()).make(choices));
        list.push(map.into());
    }
    list.into()
}

/// Makes a list of choices smaller while `fails` says that it still fails, with at most so many tries; how often it got smaller.
pub fn shrink(
    mut choices: Vec<u64>,
    tries: usize,
    mut fails: impl FnMut(&[u64]) -> Option<Vec<u64>>,
) -> (Vec<u64>, usize) {
    let (mut left, mut steps) = (tries, 0);
    // What is simpler has fewer choices, or the same number with a smaller one first.
    let simpler = |a: &[u64], b: &[u64]| (a.len(), a) < (b.len(), b);
    let mut again = true;
    while again && left > 0 {
        again = false;
        let mut attempt = |choices: &mut Vec<u64>, candidate: Vec<u64>| {
            if left == 0 || !simpler(&candidate, choices) {
                return false;
            }
            left -= 1;
            let found = fails(&candidate).filter(|found| simpler(found, choices));
            let is_smaller = found.is_some();
            if let Some(found) = found {
                *choices = found;
                steps += 1;
            }
            is_smaller
        };
        for width in [8, 4, 2, 1] {
            let mut at = 0;
            while at + width <= choices.len() {
                let candidate = [&choices[..at], &choices[at + width..]].concat();
                if attempt(&mut choices, candidate) {
                    again = true;
                } else {
                    at += 1;
                }
            }
        }
        for at in 0..choices.len() {
            // The smallest first, then by halves between what does not fail and what does.
            let mut low: Option<u64> = None;
            while let Some(high) = choices.get(at).copied() {
                let next = low.map_or(0, |low| low + high.saturating_sub(low) / 2);
                if next >= high || low == Some(next) {
                    break;
                }
                let mut candidate = choices.clone();
                candidate[at] = next;
                if attempt(&mut choices, candidate) {
                    again = true;
                } else {
                    low = Some(next);
                }
            }
        }
    }
    (choices, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_made_as_small_as_it_can_be() {
        let generator = Generator::Int(0, 1_000_000);
        let number =
            |choices: &[u64]| generator.make(&mut Choices::of_list(choices.to_vec())).as_int().unwrap();
        let mut choices = Choices::of_seed(3);
        while generator.make(&mut choices).as_int().unwrap() <= 1000 {
            choices.taken.clear();
        }
        let (found, _) = shrink(choices.taken(), 1000, |candidate| {
            let mut choices = Choices::of_list(candidate.to_vec());
            (generator.make(&mut choices).as_int().unwrap() > 1000).then(|| choices.taken())
        });
        assert_eq!(number(&found), 1001);
    }

    #[test]
    fn values_are_in_their_bounds_and_the_same_for_a_seed() {
        for seed in 0..500 {
            let make = |generator: &Generator| generator.make(&mut Choices::of_seed(seed));
            let number = make(&Generator::Int(-7, 9)).as_int().unwrap();
            assert!((-7..=9).contains(&number), "{number}");
            let bytes = make(&Generator::Size(10_000)).as_int().unwrap();
            assert!((0..=10_000).contains(&bytes), "{bytes}");
            let network = make(&Generator::Cidr(16, 30)).to_string();
            let cidr = crate::runtime::net::parse_cidr("test", "cidr", &network).unwrap();
            assert_eq!(cidr.network().to_string(), network);
            assert_eq!(make(&Generator::Mounts).to_string(), make(&Generator::Mounts).to_string());
        }
    }
}
