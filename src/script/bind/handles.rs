//! The verbs that every handle has: `id kind name inspect() close() keep() is_open`, `==`, `!=`, and printing.

use crate::error::Result;
use crate::runtime::cgroup::Cgroup;
use crate::runtime::fs::dir::Dir;
use crate::runtime::fs::mounts::Mount;
use crate::runtime::fs::overlay::Overlay;
use crate::runtime::image::Image;
use crate::runtime::net::{Bridge, Veth};
use crate::runtime::ns::NsSet;
use crate::runtime::proc::Process;
use crate::runtime::session::HandleId;
use crate::script::call::Call;
use crate::script::handle::{Held, Kind};
use crate::script::native::{Binding, natives};
use rhai::{Dynamic, Module};
use std::marker::PhantomData;

/// The kinds of handles. A new kind is one line here.
pub const KINDS: &[HandleKind] = &[
    kind::<NsSet>(),
    kind::<Cgroup>(),
    kind::<Overlay>(),
    kind::<Mount>(),
    kind::<Dir>(),
    kind::<Veth>(),
    kind::<Bridge>(),
    kind::<Process>(),
    kind::<Image>(),
];

/// A type that is a value, no handle.
#[derive(Clone, Copy, Debug)]
pub struct ValueType {
    /// The name of the type.
    pub name: &'static str,
    /// What it is, as one sentence for the help.
    pub doc: &'static str,
    /// Tells the engine this name: `|module| { module.set_custom_type::<Image>("Image"); }`.
    pub set_type: fn(&mut Module),
}

/// The types that are values. A new one is one entry here.
pub const VALUES: &[ValueType] = &[
    ValueType {
        name: "ExecResult",
        doc: "How a command ended, with what it wrote and used.",
        set_type: |module| {
            module.set_custom_type::<super::proc::ExecResult>("ExecResult");
        },
    },
    ValueType {
        name: "Generator",
        doc: "How values by chance are made.",
        set_type: |module| {
            module.set_custom_type::<crate::script::generate::Generator>("Generator");
        },
    },
    ValueType {
        name: "Calls",
        doc: "A list of system calls that a program of their own makes.",
        set_type: |module| {
            module.set_custom_type::<crate::runtime::proc::calls::Calls>("Calls");
        },
    },
];

/// A kind of handle, as the engine registers it.
#[derive(Clone, Copy, Debug)]
pub struct HandleKind {
    /// The name of the type.
    pub name: &'static str,
    /// What it is, as one sentence for the help.
    pub doc: &'static str,
    /// Tells the engine this name.
    pub set_type: fn(&mut Module),
    /// The handle that a value is, if it is of this kind.
    pub id_of: fn(&Dynamic) -> Option<HandleId>,
    /// The common verbs for this type.
    pub verbs: &'static Binding,
}

/// The entry of a kind in [`KINDS`].
#[must_use]
pub const fn kind<T: Kind>() -> HandleKind {
    HandleKind {
        name: T::NAME,
        doc: T::DOC,
        set_type: |module| {
            module.set_custom_type::<Held<T>>(T::NAME);
        },
        id_of: |value| value.read_lock::<Held<T>>().map(|held| held.id()),
        verbs: &Verbs::<T>::COMMON,
    }
}

struct Verbs<T>(PhantomData<T>);

impl<T: Kind> Verbs<T> {
    natives! {
        /// What every handle can do, whatever it stands for.
        const COMMON = "handle";

        /// The number of the handle in this session.
        get "id"(handle: Held<T>) -> u64 = id::<T>;
        /// The kind of thing it stands for, such as `Overlay`.
        get "kind"(handle: Held<T>) -> String = kind_of::<T>;
        /// The name of the thing: what the user chose, or what tells it from others.
        get "name"(handle: Held<T>) -> String = name::<T>;
        /// Whether the thing is still there.
        get "is_open"(handle: Held<T>) -> bool = is_open::<T>;
        /// All facts, as a map.
        ///
        /// Returns: what each kind of thing knows of itself.
        /// Errors: `closed` when the handle was closed before.
        /// Needs: nothing.
        /// Calls: nothing.
        /// Undo: nothing.
        /// Example:
        ///     let dir = fs::temp_dir();
        ///     [dir.kind, dir.is_open]               // => ["Dir", true]
        ///     dir.inspect().path == dir.path        // => true
        ///     [dir.id > 0, dir.name != ""]          // => [true, true]
        method "inspect"(handle: Held<T>) -> serde_json::Value = inspect::<T>;
        /// Takes the thing away now, and what rests on it. Closing twice is fine.
        ///
        /// Errors: `busy` for a mount that is in use, and others by what the kernel refuses; what could not be taken back is tried
        /// again at the end of the script, and then by `cshell gc`.
        /// Needs: what making it needed.
        /// Calls: nothing.
        /// Undo: this is the undoing.
        /// Example:
        ///     let dir = fs::temp_dir();
        ///     let path = dir.path;
        ///     dir.close();
        ///     [dir.is_open, fs::exists(path)] // => [false, false]
        method "close"(handle: Held<T>) = close::<T>;
        /// Hands the thing over: it outlives the script, until `cshell gc --kept`.
        ///
        /// Errors: `unsupported` for what lives in this program or in its mount namespace, with the reason; `closed` when the
        /// handle was closed before.
        /// Needs: nothing.
        /// Calls: nothing.
        /// Undo: nothing; that is its purpose.
        /// Example:
        ///     let dir = fs::temp_dir(#{ size: "1MiB" });
        ///     dir.keep(); // throws unsupported
        method "keep"(handle: Held<T>) = keep::<T>;
        /// One useful line, as `print` shows it; it also works on a closed handle.
        ///
        /// Returns: the line.
        /// Errors: nothing.
        /// Needs: nothing.
        /// Calls: nothing.
        /// Undo: nothing.
        /// Example:
        ///     fs::temp_dir().to_string().starts_with("Dir ") // => true
        method "to_string"(handle: Held<T>) -> String = line::<T>;
        /// One useful line, as it is shown inside lists and maps.
        ///
        /// Returns: the same as `to_string`.
        /// Errors: nothing.
        /// Needs: nothing.
        /// Calls: nothing.
        /// Undo: nothing.
        /// Example:
        ///     let dir = fs::temp_dir();
        ///     dir.to_debug() == dir.to_string() // => true
        method "to_debug"(handle: Held<T>) -> String = line::<T>;
        /// Whether both stand for the same thing.
        ///
        /// Returns: `true` also for copies of one handle, and when it is closed.
        /// Errors: nothing.
        /// Needs: nothing.
        /// Calls: nothing.
        /// Undo: nothing.
        /// Example:
        ///     let a = fs::temp_dir();
        ///     let b = a;
        ///     [a == b, a == fs::temp_dir()] // => [true, false]
        method "=="(
            handle: Held<T>,
            /// Any value; what is no handle of this kind is not the same.
            other: Dynamic
        ) -> bool = same::<T>;
        /// Whether they stand for different things.
        ///
        /// Returns: the opposite of `==`.
        /// Errors: nothing.
        /// Needs: nothing.
        /// Calls: nothing.
        /// Undo: nothing.
        /// Example:
        ///     fs::temp_dir() != fs::temp_dir() // => true
        method "!="(
            handle: Held<T>,
            /// Any value; what is no handle of this kind is different.
            other: Dynamic
        ) -> bool = differ::<T>;
    }
}

fn id<T: Kind>(_: &Call<'_>, handle: Held<T>) -> Result<u64> {
    Ok(handle.id().number())
}

fn kind_of<T: Kind>(_: &Call<'_>, _: Held<T>) -> Result<String> {
    Ok(T::NAME.to_owned())
}

fn name<T: Kind>(call: &Call<'_>, handle: Held<T>) -> Result<String> {
    Ok(call.session().name_of(handle.id()))
}

fn is_open<T: Kind>(call: &Call<'_>, handle: Held<T>) -> Result<bool> {
    Ok(call.session().is_open(handle.id()))
}

fn inspect<T: Kind>(call: &Call<'_>, handle: Held<T>) -> Result<serde_json::Value> {
    Ok(handle.open(call)?.inspect())
}

fn close<T: Kind>(call: &Call<'_>, handle: Held<T>) -> Result<()> {
    call.session().close_handle(handle.id())
}

fn keep<T: Kind>(call: &Call<'_>, handle: Held<T>) -> Result<()> {
    call.session().keep(handle.id())
}

fn line<T: Kind>(call: &Call<'_>, handle: Held<T>) -> Result<String> {
    Ok(match call.session().peek_handle(handle.id()) {
        Some(thing) => thing.line(),
        None => format!("{} {} (closed)", T::NAME, call.session().name_of(handle.id())),
    })
}

fn same<T: Kind>(_: &Call<'_>, handle: Held<T>, other: Dynamic) -> Result<bool> {
    Ok(other.try_cast::<Held<T>>().is_some_and(|other| other.id() == handle.id()))
}

fn differ<T: Kind>(call: &Call<'_>, handle: Held<T>, other: Dynamic) -> Result<bool> {
    same(call, handle, other).map(|same| !same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::session::{Handle, Session};
    use crate::runtime::state::StateDirs;
    use crate::script::convert::{OrEmpty, Size};
    use crate::script::engine;
    use crate::script::handle::Open;
    use crate::script::options::{FromOptions, Key, Options, Opts};
    use crate::script::shell::Shell;
    use rhai::Engine;
    use serde_json::json;
    use std::rc::Rc;

    #[derive(Debug)]
    struct Lamp {
        name: String,
        watts: u64,
    }
    impl Handle for Lamp {
        fn kind(&self) -> &'static str {
            Self::NAME
        }
        fn name(&self) -> String {
            self.name.clone()
        }
        fn line(&self) -> String {
            format!("Lamp {} {}W", self.name, self.watts)
        }
        fn inspect(&self) -> serde_json::Value {
            json!({ "watts": self.watts, "on": true })
        }
        fn keep_refusal(&self) -> Option<&'static str> {
            Some("the bulb is borrowed")
        }
    }
    impl Kind for Lamp {
        const NAME: &'static str = "Lamp";
        const DOC: &'static str = "A lamp.";
    }

    #[derive(Debug)]
    struct Shade(u64);
    const SHADE: Options =
        Options { of: "lamp::new shade", open: None, keys: &[Key::new("size", "size", "", "How large.")] };
    impl FromOptions for Shade {
        const OPTIONS: &'static Options = &SHADE;
        fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
            Ok(Self(opts.need::<Size>("size")?.0))
        }
    }
    #[derive(Debug)]
    struct Spec {
        name: String,
        shade: Option<Shade>,
    }
    const LAMP: Options = Options {
        of: "lamp::new",
        open: None,
        keys: &[
            Key::new("name", "text", "\"lamp\"", "Its name."),
            Key::new("shade", "map", "none", "Its shade.").map(&SHADE),
        ],
    };
    impl FromOptions for Spec {
        const OPTIONS: &'static Options = &LAMP;
        fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
            Ok(Self { name: opts.or("name", "lamp".into())?, shade: opts.take("shade")? })
        }
    }

    natives! {
        /// Lamps.
        const LAMPS = "lamp";
        /// A lamp.
        fn "lamp::new"(options: OrEmpty<Spec>) -> Held<Lamp> = new;
        /// A colour.
        fn "lamp::colour"(name: String) -> Colour = colour;
        /// A darker one.
        method "Colour.darker"(colour: Colour, steps: Option<u8>) -> Colour = darker;
        /// Whether it is black.
        get "Colour.is_black"(colour: Colour) -> bool = is_black;
        /// How bright it is.
        get "Lamp.watts"(lamp: Open<Lamp>) -> u64 = watts;
    }

    fn new(call: &Call<'_>, options: OrEmpty<Spec>) -> Result<Held<Lamp>> {
        let Spec { name, shade } = options.0;
        let watts = shade.map_or(60, |shade| shade.0);
        Ok(Held::new(call.session().adopt(Lamp { name, watts }, Vec::new()).0))
    }

    #[derive(Clone, Debug)]
    struct Colour(String);
    crate::script::returned::script_value!(Colour, "Colour");

    fn colour(_: &Call<'_>, name: String) -> Result<Colour> {
        Ok(Colour(name))
    }

    fn darker(_: &Call<'_>, colour: Colour, steps: Option<u8>) -> Result<Colour> {
        Ok(if steps.unwrap_or(1) > 9 { Colour("black".into()) } else { colour })
    }

    fn is_black(_: &Call<'_>, colour: Colour) -> Result<bool> {
        Ok(colour.0 == "black")
    }

    fn watts(_: &Call<'_>, lamp: Open<Lamp>) -> Result<u64> {
        Ok(lamp.watts)
    }

    fn engine() -> Engine {
        let session = Rc::new(Session::new(StateDirs::from_env()).unwrap());
        let shell = Shell::new(session, "test.rhai", Vec::new());
        let mut engine = engine::build(&shell);
        let (mut lamps, mut global) = (Module::new(), Module::new());
        let kind = kind::<Lamp>();
        (kind.set_type)(&mut global);
        kind.verbs.register(None, &mut global, &shell);
        LAMPS.register(Some(&mut lamps), &mut global, &shell);
        engine.register_static_module("lamp", lamps.into());
        engine.register_global_module(global.into());
        engine
    }

    #[track_caller]
    fn check(code: &str, expected: &str) {
        let code =
            format!("try {{ return {{ {code} }} }} catch (e) {{ return `${{e.kind}} ${{e.message}}` }}");
        assert_eq!(engine().eval::<Dynamic>(&code).unwrap().to_string(), expected, "{code}");
    }

    #[test]
    fn handles_have_the_common_verbs() {
        check(
            "let a = lamp::new(); [a.id, a.kind, a.name, a.is_open, type_of(a)]",
            r#"[1, "Lamp", "lamp", true, "Lamp"]"#,
        );
        check("let a = lamp::new(); a.inspect().watts + a.watts", "120");
        check(
            "let a = lamp::new(); let b = a; let c = lamp::new(); [a == b, a != c, a == c, a == (), a != 1]",
            "[true, true, false, false, true]",
        );
        check("let a = lamp::new(); a.close(); a.close(); `${a} ${a.is_open}`", "Lamp lamp (closed) false");
        check("const A = lamp::new(); `${A} ${A.watts} ${A.inspect().on}`", "Lamp lamp 60W 60 true");
        check("let a = lamp::new(); a.keep()", "unsupported keep lamp: the bulb is borrowed");
        check(
            "let a = lamp::new(); a.close(); a.watts",
            "closed Lamp.watts Lamp lamp: it was closed at test.rhai:1",
        );
    }

    #[test]
    fn values_have_methods_and_properties() {
        check(
            "let c = lamp::colour(\"red\"); [c.is_black, c.darker().is_black, c.darker(10).is_black]",
            "[false, false, true]",
        );
        check(
            "lamp::colour(\"red\").darker(256)",
            "invalid_argument Colour.darker: `steps` must be a whole number from 0 to 255, not 256",
        );
    }

    #[test]
    fn option_maps_refuse_what_they_do_not_know() {
        check("lamp::new(#{ name: \"x\", shade: #{ size: \"1K\" } }).watts", "1024");
        check(
            "lamp::new(#{ nmae: 1 })",
            "invalid_argument lamp::new: unknown option `nmae` for lamp::new, did you mean `name`?",
        );
        check("lamp::new(#{ zzz: 1 })", "invalid_argument lamp::new: unknown option `zzz` for lamp::new");
        check("lamp::new(#{ name: 1 })", "invalid_argument lamp::new: `name` must be a text, not 1");
        check(
            "lamp::new(#{ shade: #{} })",
            "invalid_argument lamp::new: `shade.size` is missing: a size (bytes, or a text such as \"64MiB\") expected",
        );
        check(
            "lamp::new(#{ shade: #{ size: \"lots\" } })",
            "invalid_argument lamp::new: `shade.size` must be a size (bytes, or a text such as \"64MiB\"), not the text \"lots\"",
        );
        check(
            "lamp::new(#{ shade: #{ size: -1 } })",
            "invalid_argument lamp::new: `shade.size` must be a size (bytes, or a text such as \"64MiB\"), not -1",
        );
        check("lamp::new(3)", "invalid_argument lamp::new: `options` must be a map of options, not 3");
    }
}
