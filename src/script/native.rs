//! Native functions as data: the table of a module is a constant, read by the engine, by `cshell check` and by
//! `cshell doc`. Building it costs nothing at the start.

use crate::error::{Error, ErrorKind, Result};
use crate::script::call::{Call, Outcome};
use crate::script::convert::{At, FromScript};
use crate::script::hooks;
use crate::script::options::Options;
use crate::script::shell::Shell;
use rhai::{Dynamic, FnNamespace, FuncRegistration, Module, NativeCallContext, RhaiFunc};
use std::any::TypeId;
use std::rc::Rc;

/// A module of the script language: its functions, and the methods and properties of its handles.
#[derive(Debug)]
pub struct Binding {
    /// Its name, such as `net`.
    pub name: &'static str,
    /// Its documentation, a line an element.
    pub doc: &'static [&'static str],
    /// Its natives.
    pub natives: &'static [Native],
}

/// How a native is written in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `net::veth(…)`.
    Function,
    /// `ns.exec(…)`.
    Method,
    /// `ns.pid`.
    Property,
}

/// One parameter of a native.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What a script writes there.
    pub expected: fn() -> String,
    /// Its documentation, a line an element; a value of a method and an option map may go without.
    pub doc: &'static [&'static str],
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it takes a handle, which must be open.
    pub open: bool,
    /// The keys it takes, if it is an option map.
    pub options: Option<&'static Options>,
    /// The type by which a method finds it.
    pub type_id: fn() -> TypeId,
}

/// One native function.
#[derive(Debug)]
pub struct Native {
    /// `net::veth` for a function, `Ns.exec` for a method or property.
    pub op: &'static str,
    /// How it is written.
    pub form: Form,
    /// Its parameters; the first of a method or property is the value it belongs to.
    pub params: &'static [Param],
    /// What it returns; empty for nothing.
    pub returns: fn() -> String,
    /// Its documentation, a line an element.
    pub doc: &'static [&'static str],
    /// The function.
    pub run: fn(&Call<'_>, &mut Args<'_, '_, '_>) -> Outcome<Dynamic>,
}

impl Native {
    /// The name without module or type.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.form {
            Form::Function => self.op.rsplit_once("::").map_or(self.op, |(_, name)| name),
            Form::Method | Form::Property => self.op.rsplit_once('.').map_or(self.op, |(_, name)| name),
        }
    }

    /// The least and the largest number of arguments, with the value of a method.
    #[must_use]
    pub fn arity(&self) -> std::ops::RangeInclusive<usize> {
        let least = self.params.iter().take_while(|param| !param.optional).count();
        least..=self.params.len()
    }

    /// How it is written: `net::veth(options)`, `sys::env([name], [default]) -> any value`.
    #[must_use]
    pub fn signature(&self) -> String {
        let shown = |param: &Param| {
            if param.optional { format!("[{}]", param.name) } else { param.name.to_owned() }
        };
        let returns = match (self.returns)() {
            none if none.is_empty() => none,
            some => format!(" -> {some}"),
        };
        match self.form {
            Form::Property => format!("{}{returns}", self.op),
            Form::Method => {
                let params: Vec<String> = self.params.iter().skip(1).map(shown).collect();
                format!("{}({}){returns}", self.op, params.join(", "))
            }
            Form::Function => {
                let params: Vec<String> = self.params.iter().map(shown).collect();
                format!("{}({}){returns}", self.op, params.join(", "))
            }
        }
    }

    fn register(&'static self, module: &mut Module, shell: &Rc<Shell>) {
        for count in self.arity() {
            let shell = shell.clone();
            let func = Rc::new(move |ctx: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| {
                self.call(ctx, &shell, args)
            });
            // Any type of value gets in, so that a wrong one is told with the name of the parameter.
            let mut types = vec![TypeId::of::<Dynamic>(); count];
            let registration = match self.form {
                Form::Function => FuncRegistration::new(self.name()).with_namespace(FnNamespace::Internal),
                Form::Method => FuncRegistration::new(self.name()).in_global_namespace(),
                Form::Property => FuncRegistration::new_getter(self.name()).in_global_namespace(),
            };
            let func = match self.form {
                Form::Function => {
                    RhaiFunc::Pure { func, has_context: true, is_pure: true, is_volatile: true }
                }
                Form::Method | Form::Property => {
                    types[0] = (self.params[0].type_id)();
                    RhaiFunc::Method { func, has_context: true, is_pure: true, is_volatile: true }
                }
            };
            registration.set_into_module_raw(module, types, func);
        }
    }

    fn call(
        &'static self,
        ctx: Option<NativeCallContext<'_>>,
        shell: &Rc<Shell>,
        values: &mut [&mut Dynamic],
    ) -> std::result::Result<Dynamic, Box<rhai::EvalAltResult>> {
        let Some(ctx) = ctx else {
            // The engine gives a context to every function that is registered as taking one.
            return Err(format!("{}: called without a context", self.op).into());
        };
        let call = Call::new(ctx, self.op, shell);
        let place = call.place();
        shell.hooks().set_at(&place);
        let watcher = shell.watcher().filter(|_| self.form != Form::Property);
        // Only who is told needs the place for longer.
        let told = watcher.is_some().then(|| place.clone());
        if let Some(watcher) = &watcher {
            watcher.begins(self.op, &place, &|| values.iter().map(|value| format!("{value} ")).collect());
        }
        shell.session().set_at(Some(place));
        let mut args =
            Args { call: &call, params: self.params, values, next: 0, method: self.form != Form::Function };
        let outcome = (self.run)(&call, &mut args);
        if let Some((watcher, place)) = watcher.zip(told) {
            watcher.returned(self.op, &place);
        }
        call.leave(hooks::leave(&call, outcome))
    }
}

/// The arguments of one call, taken from the first to the last.
#[derive(Debug)]
pub struct Args<'a, 'c, 'v> {
    call: &'a Call<'c>,
    params: &'static [Param],
    values: &'a mut [&'v mut Dynamic],
    next: usize,
    method: bool,
}

impl Args<'_, '_, '_> {
    /// The next argument.
    ///
    /// # Errors
    /// When its type or value does not fit.
    pub fn take<T: FromScript>(&mut self) -> Result<T> {
        let index = self.next;
        self.next += 1;
        let Some(param) = self.params.get(index) else {
            return Err(Error::new(ErrorKind::Internal, self.call.op(), "more arguments than parameters"));
        };
        let at = At::argument(self.call, param.name);
        match self.values.get_mut(index) {
            // The value of a method stays with its variable.
            Some(value) if self.method && index == 0 => T::from_script(value.flatten_clone(), &at),
            Some(value) => T::from_script(value.take().flatten(), &at),
            None => T::missing(&at),
        }
    }
}

impl Binding {
    /// Registers functions into `module` and everything else, which needs no module name, into `global`.
    pub fn register(&self, module: Option<&mut Module>, global: &mut Module, shell: &Rc<Shell>) {
        let mut module = module;
        for native in self.natives {
            match &mut module {
                Some(module) if native.op.contains("::") => native.register(module, shell),
                _ => native.register(global, shell),
            }
        }
    }

    /// The functions of this name: `net::veth` is `function("veth")`.
    pub fn function(&self, name: &str) -> Option<&'static Native> {
        self.natives.iter().find(|native| native.form == Form::Function && native.name() == name)
    }
}

/// Declares the natives of a module; see [`crate::script::bind`] for how it is used.
macro_rules! natives {
    (
        $(#[doc = $module_doc:literal])*
        $vis:vis const $table:ident = $module:literal;
        $(
            $(#[doc = $doc:literal])*
            $form:ident $op:literal (
                $($(#[doc = $param_doc:literal])* $param:ident : $ty:ty),* $(,)?
            ) $(-> $ret:ty)? = $run:path;
        )*
    ) => {
        $(#[doc = $module_doc])*
        $vis const $table: $crate::script::native::Binding = $crate::script::native::Binding {
            name: $module,
            doc: &[$($module_doc),*],
            natives: &[$(
                $crate::script::native::Native {
                    op: $op,
                    form: natives!(@form $form),
                    params: &[$(
                        $crate::script::native::Param {
                            name: stringify!($param),
                            expected: <$ty as $crate::script::convert::FromScript>::expected,
                            doc: &[$($param_doc),*],
                            optional: <$ty as $crate::script::convert::FromScript>::OPTIONAL,
                            open: <$ty as $crate::script::convert::FromScript>::OPEN,
                            options: <$ty as $crate::script::convert::FromScript>::OPTIONS,
                            type_id: <$ty as $crate::script::convert::FromScript>::type_id,
                        }
                    ),*],
                    returns: natives!(@returns $($ret)?),
                    doc: &[$($doc),*],
                    run: |_call, _args| {
                        let value = $run(_call $(, _args.take::<$ty>()?)*)?;
                        Ok($crate::script::returned::IntoScript::into_script(value))
                    },
                }
            ),*],
        };
    };
    (@form fn) => { $crate::script::native::Form::Function };
    (@form method) => { $crate::script::native::Form::Method };
    (@form get) => { $crate::script::native::Form::Property };
    (@returns) => { || String::new() };
    (@returns $ret:ty) => { <$ret as $crate::script::returned::IntoScript>::returns };
}
pub(crate) use natives;
