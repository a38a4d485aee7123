//! Builds the interpreter: every limit explicit, the same in debug and release.

use crate::runtime::cancel;
use crate::script::bind::{BINDINGS, handles};
use crate::script::catch::CaughtNames;
use crate::script::error::{FIELDS, ScriptError};
use crate::script::resolver::Resolver;
use crate::script::shell::Shell;
use rhai::{Dynamic, Engine, FuncRegistration, ImmutableString, Module, OptimizationLevel, Token};
use std::rc::Rc;

/// Words that the language reserves without using them, given back as names: `ns::new`, `proc::spawn`.
///
/// Words that it uses (`import`, `in`, `fn`, …) cannot be given back.
const GIVEN_BACK: &[&str] = &[
    "new",
    "spawn",
    "match",
    "with",
    "is",
    "sync",
    "use",
    "default",
    "module",
    "package",
    "static",
    "shared",
    "public",
    "protected",
    "super",
    "thread",
    "go",
    "goto",
    "async",
    "await",
    "yield",
    "case",
    "var",
    "void",
    "null",
    "nil",
];

/// How deep functions of a script may call each other. 200 levels need less than 4 MB of stack.
const CALL_LEVELS: usize = 200;
/// How deep expressions may nest: at the top level, and in functions.
const EXPRESSION_DEPTHS: (usize, usize) = (256, 128);
/// The largest text or blob, in bytes.
const TEXT_SIZE: usize = 256 << 20;
/// The largest list or map, in elements.
const ELEMENTS: usize = 16 << 20;
/// The most variables alive at once, and functions and modules in one script.
const NAMES: usize = 100_000;

/// An engine whose natives work on `shell`.
#[must_use]
pub fn build(shell: &Rc<Shell>) -> Engine {
    let mut engine = Engine::new();
    set_limits(&mut engine);
    set_parser_hooks(&mut engine);
    set_hooks(&mut engine, shell);
    register(&mut engine, shell);
    engine.set_module_resolver(Resolver::new(shell.clone()));
    engine
}

/// An engine that only parses, and does not mind what is not defined.
#[must_use]
pub(super) fn parser() -> Engine {
    let mut engine = Engine::new_raw();
    set_limits(&mut engine);
    set_parser_hooks(&mut engine);
    engine.set_strict_variables(false);
    engine
}

fn set_limits(engine: &mut Engine) {
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(false)
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTHS.0, EXPRESSION_DEPTHS.1)
        .set_max_operations(0)
        .set_max_string_size(TEXT_SIZE)
        .set_max_array_size(ELEMENTS)
        .set_max_map_size(ELEMENTS)
        .set_max_variables(NAMES)
        .set_max_functions(NAMES)
        .set_max_modules(NAMES);
}

#[expect(
    deprecated,
    reason = "marked so because they are volatile, not because they go: the version is pinned"
)]
fn set_parser_hooks(engine: &mut Engine) {
    let caught = CaughtNames::default();
    let names = caught.clone();
    engine.on_parse_token(move |token, _, _| {
        let token = match token {
            Token::Reserved(word) if GIVEN_BACK.contains(&word.as_str()) => Token::Identifier(word),
            token => token,
        };
        names.note(&token);
        token
    });
    engine.on_var(move |name, _, context| {
        caught.shape(name, context);
        Ok(None)
    });
}

fn set_hooks(engine: &mut Engine, shell: &Rc<Shell>) {
    let stop = shell.clone();
    // The code of `exit` is asked for as well: some functions of the language that take closures wrap it in an
    // error that can be caught. The first operation of the `catch` then ends the script.
    engine.on_progress(move |_| {
        let stopped = cancel::requested().is_some() || stop.pipe_closed() || stop.exit_code().is_some();
        stopped.then_some(Dynamic::UNIT)
    });
    let out = shell.clone();
    engine.on_print(move |text| out.write_out(format!("{text}\n").as_bytes()));
    let err = shell.clone();
    engine.on_debug(move |text, source, position| {
        let source = source.unwrap_or_else(|| err.script());
        let line = position.line().map_or_else(String::new, |line| format!(":{line}"));
        err.write_err(format!("{source}{line}: {text}\n").as_bytes());
    });
}

fn register(engine: &mut Engine, shell: &Rc<Shell>) {
    let mut global = Module::new();
    for kind in handles::KINDS {
        (kind.set_type)(&mut global);
        kind.verbs.register(None, &mut global, shell);
    }
    for value in handles::VALUES {
        (value.set_type)(&mut global);
    }
    for binding in BINDINGS {
        let mut module = Module::new();
        binding.register(Some(&mut module), &mut global, shell);
        if binding.name == "sys" {
            let args = shell.args().iter().map(|arg| Dynamic::from(arg.to_string_lossy().into_owned()));
            module.set_var("args", args.collect::<rhai::Array>());
        }
        engine.register_static_module(binding.name, module.into());
    }
    register_error(&mut global);
    engine.register_global_module(global.into());
}

/// The type of caught errors: any property can be read, and it prints as one line.
fn register_error(module: &mut Module) {
    debug_assert!(FIELDS.iter().any(|(name, _)| *name == "kind"));
    module.set_custom_type::<ScriptError>("Error");
    FuncRegistration::new_index_getter()
        .in_global_namespace()
        .set_into_module(module, |error: &mut ScriptError, name: ImmutableString| error.field(&name));
    for name in ["to_string", "to_debug"] {
        FuncRegistration::new(name)
            .in_global_namespace()
            .set_into_module(module, |error: &mut ScriptError| error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{session::Session, state::StateDirs};

    fn engine(args: &[&str]) -> Engine {
        let session = Rc::new(Session::new(StateDirs::from_env()).unwrap());
        let args = args.iter().map(Into::into).collect();
        build(&Shell::new(session, "test.rhai", args))
    }

    #[test]
    fn words_given_back_are_names_everywhere() {
        let mut engine = engine(&[]);
        let mut module = Module::new();
        for word in GIVEN_BACK {
            FuncRegistration::new(*word).set_into_module(&mut module, |n: i64| n);
        }
        engine.register_static_module("m", module.into());
        for word in GIVEN_BACK {
            for code in [
                format!("m::{word}(41) + 1"),
                format!("let v = #{{ {word}: 42 }}; v.{word}"),
                format!("let {word} = 42; `${{{word}}}`.parse_int()"),
                format!("let v = #{{ {word}: |x| x + 1 }}; v.{word}(41)"),
            ] {
                assert_eq!(engine.eval::<i64>(&code).unwrap(), 42, "{code}");
            }
        }
    }

    #[test]
    fn arguments_are_a_function_and_a_constant() {
        let engine = engine(&["a", "--push", "--tag=x", "--n", "5"]);
        let code = r#"fn first() { sys::args[0] } [first(), sys::args().len(), sys::flag("push"), sys::option("tag"),
            sys::option("n", 1), sys::option("none", 1), sys::flag("pull")]"#;
        let result = engine.eval::<Dynamic>(code).unwrap();
        assert_eq!(result.to_string(), r#"["a", 5, true, "x", "5", 1, false]"#);
    }

    #[test]
    fn a_wrong_argument_names_the_parameter() {
        let engine = engine(&[]);
        for (code, message) in [
            ("sys::env(1)", "sys::env: `name` must be a text, not 1"),
            (
                "sys::sleep(\"soon\")",
                "sys::sleep: `duration` must be a duration (a text such as \"250ms\" or \"1m30s\"), not the text \"soon\"",
            ),
            ("exit(256)", "exit: `code` must be a whole number from 0 to 255, not 256"),
        ] {
            let caught = format!("try {{ {code} }} catch (e) {{ return e.kind + \" \" + e.message }}");
            assert_eq!(engine.eval::<String>(&caught).unwrap(), format!("invalid_argument {message}"));
        }
    }

    #[test]
    fn errors_of_the_language_are_caught_in_the_same_shape() {
        let engine = engine(&[]);
        for (code, expected) in [
            (
                "try { 1 / 0 } catch (e) { return [e.kind, e.line, e.position, e.code, `${e}`, e.nothing] }",
                r#"["invalid_argument", 1, 9, (), "division by zero: 1 / 0", ()]"#,
            ),
            (
                "try { nope(1) } catch (err) { let f = || err.kind; return [f.call(), err.op, type_of(err)] }",
                r#"["not_found", "nope", "Error"]"#,
            ),
            ("fn kind(x) { x.kind } try { [][1] } catch (match) { return kind(match) }", "invalid_argument"),
            ("fn f() { try { throw #{ a: 1 } } catch (e) { return e } } f()", r#"#{"a": 1}"#),
            ("try { throw 'x' } catch (e) { return e }", "x"),
            (
                "try { try { [][1] } catch (e) { throw e } } catch (x) { return [x.kind, x.line] }",
                r#"["invalid_argument", 1]"#,
            ),
        ] {
            assert_eq!(engine.eval::<Dynamic>(code).unwrap().to_string(), expected, "{code}");
        }
    }

    #[test]
    fn exit_is_not_caught() {
        for code in [
            "fn f() { exit(3) } try { f(); } catch { print(1) }",
            "try { [1].for_each(|| exit(3)); } catch { print(1) } print(2);",
            "try { exit(3); } catch {} print(2);",
        ] {
            let session = Rc::new(Session::new(StateDirs::from_env()).unwrap());
            let shell = Shell::new(session, "test.rhai", Vec::new());
            let mut engine = build(&shell);
            engine.on_print(|text| panic!("went on to {text}"));
            match engine.run(code).map_err(|error| *error) {
                Ok(()) | Err(rhai::EvalAltResult::ErrorTerminated(..)) => {}
                Err(other) => panic!("{code}: {other}"),
            }
            assert_eq!(shell.exit_code(), Some(3), "{code}");
        }
    }
}
