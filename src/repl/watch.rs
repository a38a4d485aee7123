//! Live statistics with small graphs, until a key.

use crate::error::{Error, Result};
use crate::repl::desk::Desk;
use crate::repl::{is_interrupt, show, terminal};
use crate::runtime::attend;
use crate::runtime::cancel;
use crate::runtime::sample::{Gauge, Unit, sample};
use crate::runtime::session::{Handle, Session};
use crate::runtime::units::{show_bytes, show_duration};
use nix::poll::{PollFd, PollFlags};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

const OP: &str = "watch";
/// The steps of a graph, lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How wide the names and the values are.
const NAME: usize = 10;
const VALUE: usize = 24;

/// See the [module](self).
pub(super) struct Watch<'a> {
    pub(super) session: &'a Session,
    pub(super) desk: &'a Desk,
    pub(super) thing: Rc<dyn Handle>,
    pub(super) pause: Duration,
}

/// What was seen so far: for each gauge the levels, oldest first.
#[derive(Default)]
struct Seen {
    before: Option<(Instant, Vec<Gauge>)>,
    levels: BTreeMap<&'static str, Vec<f64>>,
}

impl Watch<'_> {
    /// Shows the thing until a key is pressed or it is gone; where nobody can press a key, that many times.
    ///
    /// # Errors
    /// A failed system call.
    pub(super) fn run(&self, times: usize) -> Result<()> {
        if sample(&self.thing).is_some_and(|gauges| gauges.is_empty()) {
            self.desk.refuse(
                &format!("there is nothing to watch about {}", self.thing.line()),
                "control groups, processes, namespaces, links and overlays can be watched",
            );
            return Ok(());
        }
        let person =
            std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && terminal::can_edit();
        if person { self.until_a_key() } else { self.lines(times) }
    }

    fn until_a_key(&self) -> Result<()> {
        let saved = terminal::Keys::start();
        let mut seen = Seen::default();
        let mut drawn = 0;
        loop {
            let Some(gauges) = sample(&self.thing) else {
                self.desk.say(&format!("{} is gone\n", self.thing.name()));
                break;
            };
            let screen = terminal::screen();
            let text = self.draw(&mut seen, &gauges, screen);
            let up = if drawn > 0 { format!("\x1b[{drawn}A\r\x1b[J") } else { String::new() };
            drawn = text.lines().count();
            self.desk.say(&format!("{up}{text}"));
            if key_within(self.session, self.pause)? {
                break;
            }
        }
        drop(saved);
        Ok(())
    }

    fn lines(&self, times: usize) -> Result<()> {
        let mut seen = Seen::default();
        for turn in 0..times {
            if turn > 0 {
                attend::sleep(self.session, OP, Instant::now() + self.pause)?;
            }
            let Some(gauges) = sample(&self.thing) else {
                self.desk.say(&format!("{} is gone\n", self.thing.name()));
                break;
            };
            let values = seen.note(&gauges);
            let parts: Vec<String> = gauges
                .iter()
                .zip(values)
                .map(|(gauge, value)| format!("{} {}", gauge.name, shown(gauge, value)))
                .collect();
            self.desk.say(&format!("{}\n", parts.join(", ")));
        }
        Ok(())
    }

    fn draw(&self, seen: &mut Seen, gauges: &[Gauge], screen: show::Screen) -> String {
        let width = screen.width;
        let values = seen.note(gauges);
        let mut out = format!("{}\n", screen.bold(&show::fit(&self.thing.line(), width)));
        let room = width.saturating_sub(NAME + VALUE + 3).clamp(1, 60);
        for (gauge, value) in gauges.iter().zip(values) {
            let text = show::fit(&shown(gauge, value), VALUE);
            let levels = seen.levels.get(gauge.name).map(Vec::as_slice).unwrap_or_default();
            let graph = graph(levels, gauge.limit.map(|limit| limit_of(gauge.unit, limit)), room);
            let line = format!("{:<NAME$} {text:<VALUE$} ", gauge.name);
            out.push_str(&format!("{}{}\n", show::fit(&line, width), screen.style("32", &graph)));
        }
        let every = show_duration(self.pause);
        out.push_str(&screen.dim(&show::fit(&format!("each {every}; any key ends this"), width)));
        out.push('\n');
        out
    }
}

/// Waits until a key is pressed, which is not shown. Ctrl-C is one as well.
pub(super) fn any_key(session: &Session) {
    let saved = terminal::Keys::start();
    // A terminal that cannot be read has nobody to wait for.
    while let Ok(false) = key_within(session, Duration::from_secs(60)) {}
    drop(saved);
    if cancel::requested().is_some_and(is_interrupt) {
        cancel::clear();
    }
}

/// Whether a key was pressed, or a signal came.
fn key_within(session: &Session, pause: Duration) -> Result<bool> {
    let until = Instant::now() + pause;
    loop {
        let mut stdin = std::io::stdin().lock();
        let wait = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let ready = attend::poll(session, OP, &wait, Some(until))?;
        if ready[0] {
            // Which key does not matter.
            let read = stdin.read(&mut [0; 64]);
            return read.map(|_| true).map_err(|error| Error::io(OP, "cannot read the terminal", error));
        }
        if cancel::requested().is_some() {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

impl Seen {
    /// Notes new numbers. What each amounts to now: counters by their growth in a second.
    fn note(&mut self, gauges: &[Gauge]) -> Vec<f64> {
        let now = Instant::now();
        let mut values = Vec::new();
        for gauge in gauges {
            let before = self
                .before
                .as_ref()
                .and_then(|(at, all)| Some((at, all.iter().find(|before| before.name == gauge.name)?.value)));
            let growth = before.map_or(0.0, |(at, value)| {
                let seconds = now.duration_since(*at).as_secs_f64().max(1e-3);
                to_float(gauge.value.saturating_sub(value)) / seconds
            });
            let value = match gauge.unit {
                Unit::Bytes | Unit::Count | Unit::Events => to_float(gauge.value),
                Unit::Traffic => growth,
                // Microseconds in a second to percent of a processor.
                Unit::CpuTime => growth / 1e4,
            };
            let level = if gauge.unit == Unit::Events { growth } else { value };
            self.levels.entry(gauge.name).or_default().push(level);
            values.push(value);
        }
        self.before = Some((now, gauges.to_vec()));
        values
    }
}

#[expect(clippy::cast_precision_loss, reason = "a graph has eight steps")]
fn to_float(value: u64) -> f64 {
    value as f64
}

/// A limit in what the value of its gauge is shown in.
fn limit_of(unit: Unit, limit: u64) -> f64 {
    match unit {
        Unit::CpuTime => to_float(limit) / 10.0,
        _ => to_float(limit),
    }
}

fn shown(gauge: &Gauge, value: f64) -> String {
    let of = |text: String| format!(" of {text}");
    match gauge.unit {
        Unit::Bytes => {
            let limit = gauge.limit.map_or_else(String::new, |limit| of(show_bytes(limit)));
            format!("{}{limit}", show_bytes(gauge.value))
        }
        Unit::Count | Unit::Events => {
            format!("{}{}", gauge.value, gauge.limit.map_or_else(String::new, |limit| of(limit.to_string())))
        }
        Unit::CpuTime => {
            let limit = gauge.limit.map_or_else(String::new, |limit| of(format!("{}%", limit / 10)));
            format!("{value:.1}%{limit}")
        }
        Unit::Traffic => format!("{}/s", show_bytes(whole(value))),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below the end"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

/// The newest levels as bars: against the limit, or against the greatest of them.
fn graph(levels: &[f64], limit: Option<f64>, room: usize) -> String {
    let newest = &levels[levels.len().saturating_sub(room)..];
    let most = limit.unwrap_or_else(|| newest.iter().copied().fold(0.0, f64::max));
    let bar = |level: &f64| {
        if most <= 0.0 || *level <= 0.0 {
            return BARS[0];
        }
        let step = (level / most * 8.0).ceil().clamp(1.0, 8.0);
        BARS.iter().copied().zip(1..).find(|(_, n)| f64::from(*n) >= step).map_or(BARS[7], |(bar, _)| bar)
    };
    newest.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_against_the_limit() {
        assert_eq!(graph(&[0.0, 1.0, 4.0, 8.0], Some(8.0), 10), "▁▁▄█");
        assert_eq!(graph(&[0.0, 1.0, 2.0], None, 2), "▄█");
        assert_eq!(graph(&[0.0, 0.0], None, 5), "▁▁");
        assert_eq!(graph(&[9.0], Some(3.0), 5), "█");
    }

    #[test]
    fn counters_are_rates_and_levels_are_levels() {
        let gauge = |unit, value, limit| Gauge { name: "x", unit, value, limit };
        assert_eq!(shown(&gauge(Unit::Bytes, 1 << 20, Some(4 << 20)), 0.0), "1MiB of 4MiB");
        assert_eq!(shown(&gauge(Unit::CpuTime, 0, Some(500)), 12.34), "12.3% of 50%");
        assert_eq!(shown(&gauge(Unit::Traffic, 0, None), 2048.0), "2KiB/s");
        let mut seen = Seen::default();
        assert_eq!(seen.note(&[gauge(Unit::Traffic, 100, None), gauge(Unit::Count, 3, None)]), [0.0, 3.0]);
    }
}
