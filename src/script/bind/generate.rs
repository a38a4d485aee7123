//! `gen`: values by chance, for `test::prop`.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::security;
use crate::script::assertion::shown;
use crate::script::call::Call;
use crate::script::convert::{FromScript, Int, Size};
use crate::script::error as thrown;
use crate::script::generate::{Choices, Generator, shrink};
use crate::script::native::natives;
use crate::script::returned::script_value;
use crate::script::shell::Shell;
use crate::script::suite::{Case, not_false};
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};
use std::rc::Rc;

natives! {
    /// Generators of values by chance, for `test::prop`. Simple values are as likely as those that tend to break things.
    pub const GEN = "gen";

    /// Whole numbers.
    ///
    /// Returns: a generator; the simplest value is the nearest to zero.
    /// Errors: `invalid_argument` when `most` is less than `least`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::int(1, 6), 9).all(|n| n >= 1 && n <= 6) // => true
    ///     gen::int(6, 1)                                           // throws invalid_argument
    fn "gen::int"(
        /// The least.
        least: i64,
        /// The greatest.
        most: i64
    ) -> Generator = int;
    /// `true` and `false`.
    ///
    /// Returns: a generator; the simplest value is `false`.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::bool(), 40).contains(true) // => true
    fn "gen::bool"() -> Generator = boolean;
    /// Sizes in bytes, often at a page or a power of two, or one beside it.
    ///
    /// Returns: a generator of numbers; the simplest value is 0.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::size("1MiB"), 9).all(|n| n >= 0 && n <= 1048576) // => true
    fn "gen::size"(
        /// The greatest. Without it 1 GiB.
        most: Option<Size>
    ) -> Generator = size;
    /// Texts.
    ///
    /// Returns: a generator; the simplest value is empty.
    /// Errors: `invalid_argument` without a letter.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::text(3, "ab"), 9).all(|t| t.len() <= 3) // => true
    fn "gen::text"(
        /// The greatest number of letters.
        most: Int<0, 65_536>,
        /// The letters. Without it some of every kind: of ASCII, beyond it, blanks and controls.
        letters: Option<String>
    ) -> Generator = text;
    /// One of a list.
    ///
    /// Returns: a generator; the simplest value is the first.
    /// Errors: `invalid_argument` for an empty list.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::one_of(["a", "b"]), 40).contains("b") // => true
    fn "gen::one_of"(
        /// The values.
        values: Array
    ) -> Generator = one_of;
    /// Some of a list, in its order.
    ///
    /// Returns: a generator of lists; the simplest value is the empty one.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::subset([1, 2]), 40).contains([1, 2]) // => true
    fn "gen::subset"(
        /// The values.
        values: Array
    ) -> Generator = subset;
    /// Lists of what another generator makes.
    ///
    /// Returns: a generator; the simplest value is the shortest.
    /// Errors: `invalid_argument` when `most` is less than `least`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::list(gen::bool(), 1, 3), 9).all(|l| l.len() >= 1 && l.len() <= 3) // => true
    fn "gen::list"(
        /// What makes each element.
        each: Generator,
        /// The least number of elements.
        least: Int<0, 65_536>,
        /// The greatest number of elements.
        most: Int<0, 65_536>
    ) -> Generator = list;
    /// Maps, each value by a generator of its own.
    ///
    /// Returns: a generator.
    /// Errors: `invalid_argument` for a value that is no generator.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::record(#{ n: gen::int(1, 1) }), 1)[0].n // => 1
    fn "gen::record"(
        /// The generators by key.
        fields: Map
    ) -> Generator = record;
    /// Sets of capabilities, as `proc::exec` takes them.
    ///
    /// Returns: a generator of lists of names; the simplest value is the empty one.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: capabilities(7)
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::capabilities(), 60).some(|set| set.contains("NET_RAW")) // => true
    fn "gen::capabilities"() -> Generator = capabilities;
    /// Limits of a control group: none, some or all of `memory` (8 to 512 MiB), `pids` and `cpus`.
    ///
    /// Returns: a generator of maps, as `cgroup::limit` takes them.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::limits(), 40).some(|limits| "pids" in limits) // => true
    fn "gen::limits"() -> Generator = limits;
    /// Mounts of a root, as `mounts` of `proc::exec` takes them: up to three of tmpfs, proc and mqueue, with options.
    ///
    /// Returns: a generator of lists of maps.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: mount(8)
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::mounts(), 40).some(|mounts| mounts.len() == 3) // => true
    fn "gen::mounts"() -> Generator = mounts;
    /// Networks within 10.0.0.0/8.
    ///
    /// Returns: a generator of texts such as `"10.3.0.0/16"`.
    /// Errors: `invalid_argument` when `most` is less than `least`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::cidr(24, 24), 9).all(|net| net.ends_with(".0/24")) // => true
    fn "gen::cidr"(
        /// The shortest prefix. Without it 16.
        least: Option<Int<8, 32>>,
        /// The longest prefix. Without it 30.
        most: Option<Int<8, 32>>
    ) -> Generator = cidr;
    /// Values that a generator makes, to look at.
    ///
    /// Returns: a list of `count` values, the same for the same seed.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::sample(gen::int(5, 5), 2) // => [5, 5]
    fn "gen::sample"(
        /// The generator.
        generator: Generator,
        /// How many.
        count: Int<0, 65_536>,
        /// The seed. Without it 1.
        seed: Option<u64>
    ) -> Array = sample;

    /// One useful line.
    ///
    /// Returns: the line.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     `${gen::bool()}`.starts_with("Generator") // => true
    method "Generator.to_string"(generator: Generator) -> String = show;
    /// One useful line, as `to_string`.
    ///
    /// Returns: the line.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     gen::bool().to_debug().starts_with("Generator") // => true
    method "Generator.to_debug"(generator: Generator) -> String = show;
}

script_value!(Generator, "Generator");

fn ordered(call: &Call<'_>, least: i64, most: i64) -> Result<()> {
    if most < least {
        Err(call.invalid(format!("`most` must not be less than `least`: {most}, {least}")))
    } else {
        Ok(())
    }
}

fn int(call: &Call<'_>, least: i64, most: i64) -> Result<Generator> {
    ordered(call, least, most).map(|()| Generator::Int(least, most))
}

fn boolean(_: &Call<'_>) -> Result<Generator> {
    Ok(Generator::Bool)
}

fn size(_: &Call<'_>, most: Option<Size>) -> Result<Generator> {
    Ok(Generator::Size(most.map_or(1 << 30, |most| i64::try_from(most.0).unwrap_or(i64::MAX))))
}

fn text(call: &Call<'_>, most: Int<0, 65_536>, letters: Option<String>) -> Result<Generator> {
    const SOME: &str = "abcxyzABC019-_./ \t\n\"'\\$#{}%é漢\u{1f600}\u{7f}\u{1}";
    let letters: Rc<[char]> = letters.unwrap_or_else(|| SOME.to_owned()).chars().collect();
    if letters.is_empty() {
        return Err(call.invalid("`letters` must have a letter"));
    }
    Ok(Generator::Text(letters, most.0.unsigned_abs()))
}

fn one_of(call: &Call<'_>, values: Array) -> Result<Generator> {
    if values.is_empty() {
        return Err(call.invalid("`values` must be a list with a value, not an empty one"));
    }
    Ok(Generator::OneOf(values.into()))
}

fn subset(_: &Call<'_>, values: Array) -> Result<Generator> {
    Ok(Generator::Subset(values.into()))
}

fn list(call: &Call<'_>, each: Generator, least: Int<0, 65_536>, most: Int<0, 65_536>) -> Result<Generator> {
    ordered(call, least.0, most.0)?;
    Ok(Generator::List(each.into(), least.0.unsigned_abs(), most.0.unsigned_abs()))
}

fn record(call: &Call<'_>, fields: Map) -> Result<Generator> {
    of(call, &fields.into())
}

fn capabilities(_: &Call<'_>) -> Result<Generator> {
    let names: Array = security::caps::names(security::caps::ALL).into_iter().map(Dynamic::from).collect();
    Ok(Generator::Subset(names.into()))
}

fn limits(_: &Call<'_>) -> Result<Generator> {
    Ok(Generator::Limits)
}

fn mounts(_: &Call<'_>) -> Result<Generator> {
    Ok(Generator::Mounts)
}

fn cidr(call: &Call<'_>, least: Option<Int<8, 32>>, most: Option<Int<8, 32>>) -> Result<Generator> {
    let (least, most) = (least.map_or(16, |least| least.0), most.map_or(30, |most| most.0));
    ordered(call, least, most)?;
    let prefix = |number: i64| u8::try_from(number).unwrap_or(32);
    Ok(Generator::Cidr(prefix(least), prefix(most)))
}

fn sample(_: &Call<'_>, generator: Generator, count: Int<0, 65_536>, seed: Option<u64>) -> Result<Array> {
    let mut choices = Choices::of_seed(seed.unwrap_or(1));
    Ok((0..count.0).map(|_| generator.make(&mut choices)).collect())
}

fn show(_: &Call<'_>, generator: Generator) -> Result<String> {
    let text = format!("{generator:?}");
    Ok(format!("Generator {}", text.split(['(', '{']).next().unwrap_or_default().to_lowercase()))
}

/// The generator that a script means: one, or a map of them.
fn of(call: &Call<'_>, value: &Dynamic) -> Result<Generator> {
    if let Some(map) = value.read_lock::<Map>() {
        let each = map.iter().map(|(key, value)| match value.clone().try_cast::<Generator>() {
            Some(generator) => Ok((key.to_string(), generator)),
            None => Err(call.invalid(format!("`{key}` must be {}", Generator::expected()))),
        });
        return Ok(Generator::Record(Rc::new(each.collect::<Result<_>>()?)));
    }
    value.clone().try_cast::<Generator>().ok_or_else(|| {
        call.invalid("`generator` must be a generator of `gen`, or a map of them")
            .hint("such as gen::int(0, 9)")
    })
}

/// Refuses what is neither a generator nor a map of them.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] then.
pub(super) fn check(call: &Call<'_>, value: &Dynamic) -> Result<Generator> {
    of(call, value)
}

/// How many values a property is tried with.
const CASES: u32 = 100;
/// How often a smaller value is tried.
const SHRINKS: usize = 400;

/// Tries a property with many values; what fails is made smaller.
///
/// # Errors
/// What the function threw for the smallest value that it fails for.
pub fn hold(
    shell: &Shell,
    ctx: &NativeCallContext<'_>,
    case: &Case,
    generator: &Dynamic,
    f: &FnPtr,
) -> std::result::Result<(), Box<EvalAltResult>> {
    let Some(generator) = generator.clone().try_cast::<Generator>() else {
        let error = Error::new(ErrorKind::Internal, "test::prop", "a property without a generator");
        return Err(thrown::raise(error, None, rhai::Position::NONE));
    };
    let seed = case.options.seed.unwrap_or_else(|| shell.suite().seed());
    let stopped = || shell.exit_code().is_some() || cancel::requested().is_some();
    let attempt = |value: Dynamic| {
        let mark = shell.session().serial();
        let outcome = f.call_raw(ctx, None, [value]);
        shell.session().close_since(mark);
        outcome.and_then(|value| not_false(&value))
    };
    for number in 0..case.options.cases.unwrap_or(CASES) {
        let mut choices = Choices::of_seed(seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9)));
        let value = generator.make(&mut choices);
        let Err(mut error) = attempt(value.clone()) else { continue };
        if stopped() {
            shell.suite().note(format!("it was at {}", shown(&value)));
            shell.suite().note(format!("that is value {} with --seed {seed}", number + 1));
            return Err(error);
        }
        let (smallest, steps) = shrink(choices.taken(), SHRINKS, |candidate| {
            let mut choices = Choices::of_list(candidate.to_vec());
            let value = generator.make(&mut choices);
            if stopped() {
                return None;
            }
            match attempt(value) {
                Err(smaller) if !stopped() => {
                    error = smaller;
                    Some(choices.taken())
                }
                _ => None,
            }
        });
        let value = generator.make(&mut Choices::of_list(smallest));
        let suite = shell.suite();
        suite.note(format!("it fails for {}", shown(&value)));
        suite.note(format!("found at value {} with --seed {seed}, made smaller {steps} times", number + 1));
        return Err(error);
    }
    Ok(())
}
