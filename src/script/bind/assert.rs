//! `assert`: what must hold, with what differs where it does not.

use crate::runtime::cgroup::Cgroup;
use crate::script::bind::assert_attempts as attempts;
use crate::script::bind::assert_calls::{self as calls, FileFacts, Patience, Side};
use crate::script::bind::net_calls::NetnsArg;
use crate::script::convert::{Either, OrEmpty};
use crate::script::handle::Open;
use crate::script::native::natives;
use rhai::{Dynamic, FnPtr};
use std::path::PathBuf;

natives! {
    /// What must hold. What does not is an error of kind `assertion_failed`, which fails a test and ends a script, and shows what differs.
    pub const ASSERT = "assert";

    /// A condition holds.
    ///
    /// Errors: `assertion_failed` when it does not.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::that(1 < 2);
    ///     assert::that(2 < 1, "two is less"); // throws assertion_failed
    fn "assert::that"(
        /// The condition.
        condition: bool,
        /// What it means that it does not hold. Without it "it does not hold".
        message: Option<Dynamic>
    ) = calls::that;
    /// Two values are equal, with all that is in them.
    ///
    /// Errors: `assertion_failed`, with each place at which they differ, or the lines of texts that do.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::eq(#{ a: [1, 2] }, #{ a: [1, 2] });
    ///     assert::eq(#{ a: [1, 2] }, #{ a: [1, 3] }); // throws assertion_failed
    fn "assert::eq"(
        /// What is.
        is: Dynamic,
        /// What is expected.
        expected: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = calls::eq;
    /// Two values differ.
    ///
    /// Errors: `assertion_failed` when they are equal.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::ne(1, 2);
    ///     assert::ne([1], [1]); // throws assertion_failed
    fn "assert::ne"(
        /// What is.
        is: Dynamic,
        /// What it must not be.
        other: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = calls::ne;
    /// A number, or a text, is less than another.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::lt(1, 2.5);
    ///     assert::lt(2, 2); // throws assertion_failed
    fn "assert::lt"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = calls::lt;
    /// A number, or a text, is less than another or equal to it.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::le(2, 2);
    ///     assert::le(3, 2); // throws assertion_failed
    fn "assert::le"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = calls::le;
    /// A number, or a text, is greater than another.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::gt("b", "a");
    ///     assert::gt(2, 2); // throws assertion_failed
    fn "assert::gt"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = calls::gt;
    /// A number, or a text, is greater than another or equal to it.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::ge(2, 2);
    ///     assert::ge("a", 2); // throws invalid_argument
    fn "assert::ge"(
        /// What is.
        is: Dynamic,
        /// The bound.
        bound: Dynamic,
        /// What it is about, for the report. Without it nothing.
        message: Option<Dynamic>
    ) = calls::ge;
    /// A number, or a text, is not outside of two bounds.
    ///
    /// Errors: `assertion_failed` when it is; `invalid_argument` for what has no order.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::between(5, 1, 5);
    ///     assert::between(6, 1, 5); // throws assertion_failed
    fn "assert::between"(
        /// What is.
        is: Dynamic,
        /// The least that it may be.
        least: Dynamic,
        /// The most that it may be.
        most: Dynamic
    ) = calls::between;
    /// A text has a part, a list an element, or a map a key.
    ///
    /// Errors: `assertion_failed` when it has not; `invalid_argument` for what has no parts.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::contains([1, [2]], [2]);
    ///     assert::contains("network", "net");
    ///     assert::contains(#{ a: 1 }, "b"); // throws assertion_failed
    fn "assert::contains"(
        /// The text, list or map.
        whole: Dynamic,
        /// The part, element or key.
        part: Dynamic
    ) = calls::contains;
    /// A text has not a part, a list not an element, or a map not a key.
    ///
    /// Errors: `assertion_failed` when it has; `invalid_argument` for what has no parts.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::not_contains([1, 2], 3);
    ///     assert::not_contains("network", "net"); // throws assertion_failed
    fn "assert::not_contains"(
        /// The text, list or map.
        whole: Dynamic,
        /// The part, element or key.
        part: Dynamic
    ) = calls::not_contains;
    /// A regular expression is found in a text.
    ///
    /// Errors: `assertion_failed` when it is not; `invalid_argument` for one that cannot be read.
    /// Needs: nothing.
    /// Calls: regex(7)
    /// Undo: nothing.
    /// Example:
    ///     assert::matches("eth0@if7", "^eth[0-9]+@");
    ///     assert::matches("lo", "^eth");           // throws assertion_failed
    fn "assert::matches"(
        /// The text.
        text: String,
        /// The expression, in the syntax of Rust's regex crate.
        pattern: String
    ) = calls::matches;
    /// A function fails with an error of a kind, and with these words in its message or its hint.
    ///
    /// Returns: the error, or what was thrown.
    /// Errors: `assertion_failed` when it does not fail, or with another kind or other words.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     assert::throws("not_found", || fs::read("/no/file")).code // => "ENOENT"
    ///     assert::throws("not_found", "cannot open", || fs::read("/no/file")).path // => "/no/file"
    ///     assert::throws("any", || 1);                              // throws assertion_failed
    fn "assert::throws"(
        /// The kind, such as `"permission_denied"`, or `"any"`.
        kind: String,
        /// Words of the message or the hint, or the function.
        words: Either<FnPtr, String>,
        /// The function, without parameters, behind words. Without it, it is in their place.
        f: Option<FnPtr>
    ) -> Dynamic = attempts::throws;
    /// A function comes to return something else than `false` and `()` within a time. Errors count as not yet.
    ///
    /// Returns: what the function returned.
    /// Errors: `assertion_failed` when it does not in time, with what it last returned or threw; `interrupted` when a signal ends the wait.
    /// Needs: nothing.
    /// Calls: ppoll(2)
    /// Undo: nothing.
    /// Example:
    ///     let turns = 0;
    ///     assert::eventually(|| { turns += 1; turns > 3 })                     // => true
    ///     assert::eventually(#{ timeout: "20ms", every: "5ms" }, || false)     // throws assertion_failed
    fn "assert::eventually"(
        /// How long and how often, or the function.
        options: Either<FnPtr, Patience>,
        /// The function, without parameters, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) -> Dynamic = attempts::eventually;
    /// Something was refused by the kernel with an errno.
    ///
    /// It is an answer of `syscall::run`, a result of `proc::exec` with `check: false` whose last words say so, or a function that fails.
    ///
    /// Errors: `assertion_failed` when it was not refused, or in another way.
    /// Needs: nothing.
    /// Calls: errno(3)
    /// Undo: nothing.
    /// Example:
    ///     let told = syscall::run([["reboot", 0, 0, 0, 0]], #{ security: "default" });
    ///     assert::is_denied("EPERM", told.of.reboot);
    ///     assert::is_denied("ENOENT", || fs::read("/no/file"));
    ///     assert::is_denied("EPERM", || 1); // throws assertion_failed
    fn "assert::is_denied"(
        /// The errno by name, or a list of those that will do.
        errno: Either<String, Vec<String>>,
        /// The answer, the result or the function.
        what: Dynamic
    ) = calls::is_denied;
    /// A limit was met: a command was killed or refused by a controller.
    ///
    /// A `Cgroup` is asked for what the kernel counted: a process killed for memory, one refused, time held back. A result of
    /// `proc::exec` tells it by its `reason`, or, for `"pids"`, by its last words.
    ///
    /// Errors: `assertion_failed` when it was not; `invalid_argument` for another controller.
    /// Needs: nothing.
    /// Calls: cgroups(7)
    /// Undo: nothing.
    /// Example:
    ///     let group = cgroup::limit(#{ memory: "24MiB", "memory.swap.max": 0 });
    ///     let result = proc::exec(["dd", "if=/dev/zero", "of=/dev/null", "bs=48M", "count=1"], #{ cgroup: group, check: false });
    ///     assert::limited("memory", result);
    ///     assert::limited("memory", group);
    ///     assert::limited("pids", group);  // throws assertion_failed
    fn "assert::limited"(
        /// `"memory"`, `"pids"` or `"cpu"`.
        controller: String,
        /// The group, or the result of the command.
        what: Either<Open<Cgroup>, Dynamic>
    ) = calls::limited;
    /// Two processes or sets share a namespace.
    ///
    /// Errors: `assertion_failed` when they do not; as `ns::same`.
    /// Needs: as `ns::same`.
    /// Calls: namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     assert::same_ns("net", ns::host(), sys::info().pid);
    ///     assert::same_ns("net", ns::new(["net"]), ns::host()); // throws assertion_failed
    fn "assert::same_ns"(
        /// The kind, such as `"net"`.
        kind: String,
        /// An `Ns`, a `Process`, a process id, or what `ns::of` and `ns::host` return.
        a: Side,
        /// The same.
        b: Side
    ) = calls::same_ns;
    /// Two processes or sets do not share a namespace.
    ///
    /// Errors: `assertion_failed` when they do; as `ns::same`.
    /// Needs: as `ns::same`.
    /// Calls: namespaces(7)
    /// Undo: nothing.
    /// Example:
    ///     assert::different_ns("net", ns::new(["net"]), ns::host());
    ///     assert::different_ns("net", ns::host(), ns::host()); // throws assertion_failed
    fn "assert::different_ns"(
        /// The kind, such as `"net"`.
        kind: String,
        /// An `Ns`, a `Process`, a process id, or what `ns::of` and `ns::host` return.
        a: Side,
        /// The same.
        b: Side
    ) = calls::different_ns;
    /// Nothing is left of what a function made.
    ///
    /// Looked at are mounts, namespaces, links, addresses, routes and their rules, nftables, groups, queues, loop devices, keys, temporary
    /// files and images, and what of the session lives: namespaces and processes. What other programs make meanwhile on the machine is
    /// taken for the function's, unless it bears the mark of another session.
    ///
    /// Returns: what the function returned.
    /// Errors: `assertion_failed` with what is left; what the function throws comes out of here.
    /// Needs: nothing.
    /// Calls: proc(5), netlink(7)
    /// Undo: nothing: what is left is left to whom it belongs.
    /// Example:
    ///     assert::no_leaks(|| { let link = net::veth(#{}); link.close(); });
    ///     assert::no_leaks(|| { cgroup::limit(#{ pids: 4 }); }); // throws assertion_failed
    fn "assert::no_leaks"(
        /// The function, without parameters.
        f: FnPtr
    ) -> Dynamic = calls::no_leaks;
    /// A file is there, and as it should be.
    ///
    /// Errors: `assertion_failed` when it is not there, or another; `invalid_argument` for options that mean nothing.
    /// Needs: the right to look at it.
    /// Calls: stat(2), read(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::file("/etc/passwd", #{ type: "file", mode: "644", owner: "0:0", contains: "root:" });
    ///     assert::file("/etc/passwd", #{ type: "folder" }); // throws assertion_failed
    fn "assert::file"(
        /// Its path.
        path: PathBuf,
        options: OrEmpty<FileFacts>
    ) = calls::file;
    /// Nothing has this path.
    ///
    /// Errors: `assertion_failed` when something has.
    /// Needs: the right to look.
    /// Calls: stat(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::no_file("/no/file");
    ///     assert::no_file("/etc"); // throws assertion_failed
    fn "assert::no_file"(
        /// The path.
        path: PathBuf
    ) = calls::no_file;
    /// A process runs.
    ///
    /// Errors: `assertion_failed` when it has ended.
    /// Needs: nothing.
    /// Calls: proc_pid_stat(5)
    /// Undo: nothing.
    /// Example:
    ///     assert::running(sys::info().pid);
    ///     let command = proc::spawn(["true"]);
    ///     command.wait();
    ///     assert::running(command.pid); // throws assertion_failed
    fn "assert::running"(
        /// A process id.
        pid: i32
    ) = calls::running;
    /// A process does not run: it has ended, or never was.
    ///
    /// Errors: `assertion_failed` when it runs.
    /// Needs: nothing.
    /// Calls: proc_pid_stat(5)
    /// Undo: nothing.
    /// Example:
    ///     let command = proc::spawn(["true"]);
    ///     command.wait();
    ///     assert::not_running(command.pid);
    ///     assert::not_running(sys::info().pid); // throws assertion_failed
    fn "assert::not_running"(
        /// A process id.
        pid: i32
    ) = calls::not_running;
    /// Something accepts connections on a TCP port within a time.
    ///
    /// Errors: `assertion_failed` when nothing does; `invalid_argument` for a place that is none; `interrupted` when a signal ends the wait.
    /// Needs: nothing.
    /// Calls: connect(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::port(ns::new(["net"]), 80, #{ timeout: "10ms" }); // throws assertion_failed
    fn "assert::port"(
        /// An `Ns`, or an address.
        place: Either<NetnsArg, String>,
        /// The port.
        port: u16,
        options: OrEmpty<Patience>
    ) = calls::port;
    /// A text is that of a file that is kept beside the test: `cshell test --update` writes it.
    ///
    /// Errors: `assertion_failed` when it differs, with the lines that do; `not_found` when the file is not there yet.
    /// Needs: the right to read the file, and with `--update` to write it.
    /// Calls: read(2), write(2)
    /// Undo: nothing.
    /// Example:
    ///     assert::golden("a text", "/no/file"); // throws not_found
    fn "assert::golden"(
        /// The text.
        text: String,
        /// The file, relative to that of the test.
        path: PathBuf
    ) = calls::golden;
}
