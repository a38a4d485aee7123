//! What names there are: for completion and hints. Read from the tables of the natives, the variables and the functions
//! of an interactive run; nothing is called.

use crate::runtime::session::HandleId;
use crate::script::bind::{BINDINGS, handles};
use crate::script::interactive::IT;
use crate::script::look::{self, Look};
use crate::script::native::{Form, Native};
use crate::script::options::Options;
use crate::script::shell::Shell;
use rhai::{AST, Array, Blob, Dynamic, Engine, FnPtr, ImmutableString, Map, Scope};
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A variable.
    Variable,
    /// A module.
    Module,
    /// A function.
    Function,
    /// A method.
    Method,
    /// A property, or the key of a map.
    Property,
    /// A word of the language.
    Keyword,
}

/// A name that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// What it stands for.
    pub sort: Sort,
    /// Its type or signature, for people; may be empty.
    pub about: String,
}

impl Name {
    fn new(text: &str, sort: Sort, about: impl Into<String>) -> Self {
        Self { text: text.to_owned(), sort, about: about.into() }
    }
}

/// A variable, as listed.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The name of its type.
    pub kind: String,
    /// Whether it is a constant.
    pub constant: bool,
    /// Its value.
    pub look: Look,
}

/// The words of the language that begin or join statements.
const KEYWORDS: &[&str] = &[
    "break", "catch", "const", "continue", "else", "export", "false", "fn", "for", "if", "import", "in",
    "let", "loop", "private", "return", "switch", "this", "throw", "true", "try", "until", "while",
];
/// Functions that the language itself knows.
const BUILT_IN: &[&str] = &["print", "debug", "type_of", "eval", "exit"];

/// What is known about the value that a name belongs to.
enum Known {
    Value(Dynamic),
    /// Only its type, by the name that the help has.
    Type(String),
}

/// The names at one place of a run: at the prompt, or where a script has stopped.
pub struct Names<'a> {
    pub(super) engine: &'a Engine,
    pub(super) shell: &'a Shell,
    pub(super) scope: &'a Scope<'a>,
    /// The functions of the script, with their parameters.
    pub(super) functions: Vec<(String, Vec<String>)>,
    /// The modules that were imported.
    pub(super) imported: Vec<String>,
}

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "names of {} variables", self.scope.len())
    }
}

impl Names<'_> {
    /// The names that can begin an expression: those that start with `prefix`.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<Name> {
        let mut names: BTreeMap<String, Name> = BTreeMap::new();
        let mut add = |name: Name| {
            names.entry(name.text.clone()).or_insert(name);
        };
        for (name, _, value) in self.scope.iter_raw().filter(|(name, ..)| name.starts_with(prefix)) {
            add(Name::new(name, Sort::Variable, look::type_name(self.engine, value)));
        }
        for (name, params) in self.functions.iter().filter(|(name, _)| name.starts_with(prefix)) {
            add(Name::new(name, Sort::Function, format!("{name}({})", params.join(", "))));
        }
        for (module, about) in self.modules() {
            if module.starts_with(prefix) {
                add(Name::new(&module, Sort::Module, about));
            }
        }
        let words = KEYWORDS.iter().map(|word| (word, Sort::Keyword));
        for (word, sort) in words.chain(BUILT_IN.iter().map(|name| (name, Sort::Function))) {
            if word.starts_with(prefix) {
                add(Name::new(word, sort, ""));
            }
        }
        names.into_values().collect()
    }

    /// The modules: those of the natives, and those that were imported. With their summaries.
    fn modules(&self) -> Vec<(String, String)> {
        let natives = BINDINGS.iter().map(|binding| {
            let summary = binding.doc.first().map_or("", |line| line.trim());
            (binding.name.to_owned(), summary.to_owned())
        });
        natives.chain(self.imported.iter().map(|alias| (alias.clone(), String::new()))).collect()
    }

    /// The functions of a module.
    #[must_use]
    pub fn of_module(&self, module: &str) -> Vec<Name> {
        if let Some(binding) = BINDINGS.iter().find(|binding| binding.name == module) {
            let functions = binding.natives.iter().filter(|native| native.form == Form::Function);
            let here = functions.filter(|native| native.op.contains("::"));
            return here.map(|native| Name::new(native.name(), Sort::Function, native.signature())).collect();
        }
        let of = |info: rhai::FuncInfo<'_>| {
            let count = info.metadata.num_params;
            let about = format!("{}({})", info.metadata.name, vec!["_"; count].join(", "));
            (info.namespace == module).then(|| Name::new(&info.metadata.name, Sort::Function, about))
        };
        self.engine.collect_fn_metadata(None, of, false)
    }

    /// The methods, properties and keys of what `chain` names: `["box"]`, or `["stats", "memory"]`; with `result_of`,
    /// of what that call returns.
    #[must_use]
    pub fn members(&self, result_of: Option<&str>, chain: &[&str]) -> Vec<Name> {
        let Some(known) = self.known(result_of, chain) else { return Vec::new() };
        let mut names = Vec::new();
        if let Known::Value(value) = &known
            && let Some(map) = value.read_lock::<Map>()
        {
            let about = |value: &Dynamic| look::type_name(self.engine, value);
            names.extend(map.iter().map(|(key, value)| Name::new(key, Sort::Property, about(value))));
        }
        let kind = self.kind(&known);
        names.extend(natives_of(&kind).map(|native| {
            let sort = if native.form == Form::Property { Sort::Property } else { Sort::Method };
            Name::new(native.name(), sort, native.signature())
        }));
        if names.iter().all(|name| name.sort != Sort::Method) {
            names.extend(self.built_in(&kind));
        }
        names.sort_by(|a, b| a.text.cmp(&b.text));
        names.dedup_by(|a, b| a.text == b.text);
        names
    }

    /// The type of what `chain` names, or of what `result_of` returns, followed into by `chain`.
    #[must_use]
    pub fn kind_of(&self, result_of: Option<&str>, chain: &[&str]) -> Option<String> {
        self.known(result_of, chain).map(|known| self.kind(&known))
    }

    fn kind(&self, known: &Known) -> String {
        match known {
            Known::Value(value) => look::type_name(self.engine, value),
            Known::Type(kind) => kind.clone(),
        }
    }

    fn known(&self, result_of: Option<&str>, chain: &[&str]) -> Option<Known> {
        let (mut known, rest) = match result_of {
            Some(call) => (Known::Type((self.native(call)?.returns)()), chain),
            None => {
                let (first, rest) = chain.split_first()?;
                (Known::Value(self.scope.get(first)?.flatten_clone()), rest)
            }
        };
        for name in rest {
            known = self.member(&known, name)?;
        }
        Some(known)
    }

    fn member(&self, known: &Known, name: &str) -> Option<Known> {
        if let Known::Value(value) = known
            && let Some(inner) = value.read_lock::<Map>().and_then(|map| map.get(name).cloned())
        {
            return Some(Known::Value(inner));
        }
        let native = natives_of(&self.kind(known)).find(|native| native.name() == name)?;
        Some(Known::Type((native.returns)()))
    }

    /// The functions of the language for its own types, which can be called as methods.
    fn built_in(&self, kind: &str) -> Vec<Name> {
        let first = match kind {
            "text" | "path" => TypeId::of::<ImmutableString>(),
            "map" => TypeId::of::<Map>(),
            "blob" => TypeId::of::<Blob>(),
            "function" => TypeId::of::<FnPtr>(),
            list if list.starts_with("list") => TypeId::of::<Array>(),
            _ => return Vec::new(),
        };
        let of = |info: rhai::FuncInfo<'_>| {
            let fits = info.namespace.is_empty() && info.metadata.param_types.first() == Some(&first);
            let name = info.metadata.name.as_str();
            let plain = |name: &str| name.starts_with(char::is_alphabetic) && !name.contains('$');
            match name.strip_prefix("get$") {
                Some(name) if fits && plain(name) => Some(Name::new(name, Sort::Property, "")),
                None if fits && plain(name) && !["print", "debug"].contains(&name) => {
                    Some(Name::new(name, Sort::Method, ""))
                }
                _ => None,
            }
        };
        self.engine.collect_fn_metadata(None, of, true)
    }

    /// The native that is called: `net::veth`, or `box.exec` by the type of the variable, or `ns::new().exec`.
    #[must_use]
    pub fn native(&self, callee: &str) -> Option<&'static Native> {
        if let Some((owner, method)) = callee.rsplit_once('.') {
            let (result_of, chain) = match owner.rsplit_once("()") {
                Some((call, rest)) => (Some(call), rest.trim_start_matches('.')),
                None => (None, owner),
            };
            let chain: Vec<&str> = chain.split('.').filter(|name| !name.is_empty()).collect();
            let kind = self.kind(&self.known(result_of, &chain)?);
            return natives_of(&kind).find(|native| native.name() == method);
        }
        let (module, name) = callee.split_once("::")?;
        BINDINGS.iter().find(|binding| binding.name == module)?.function(name)
    }

    /// The parameters of a function of the script.
    #[must_use]
    pub fn parameters(&self, name: &str) -> Option<&[String]> {
        self.functions.iter().find(|(known, _)| known == name).map(|(_, params)| params.as_slice())
    }

    /// The type of a variable, by the name that scripts know.
    #[must_use]
    pub fn variable_kind(&self, name: &str) -> Option<String> {
        self.scope.get(name).map(|value| look::type_name(self.engine, value))
    }

    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Look> {
        self.scope.get(name).map(|value| look::look(self.engine, self.shell, value))
    }

    /// The variables, newest first, each name once.
    #[must_use]
    pub fn variables(&self) -> Vec<Variable> {
        let mut seen = BTreeSet::new();
        // They come newest first.
        let newest = self.scope.iter_raw().filter(|(name, ..)| seen.insert((*name).to_owned()));
        let variable = |(name, constant, value): (&str, bool, &Dynamic)| {
            let value = value.flatten_clone();
            Variable {
                name: name.to_owned(),
                kind: look::type_name(self.engine, &value),
                constant,
                look: look::look(self.engine, self.shell, &value),
            }
        };
        newest.map(variable).collect()
    }

    /// The handle in a variable.
    #[must_use]
    pub fn handle(&self, name: &str) -> Option<HandleId> {
        look::handle(self.shell, &self.scope.get(name)?.flatten_clone()).map(|(id, _)| id)
    }

    /// The variables that hold handles of open things, newest first.
    #[must_use]
    pub fn handles(&self) -> Vec<(String, HandleId)> {
        let mut seen = BTreeSet::new();
        // They come newest first.
        let newest = self.scope.iter_raw().filter(|(name, ..)| seen.insert((*name).to_owned()));
        let held = newest.filter_map(|(name, _, value)| {
            look::handle(self.shell, &value.flatten_clone()).map(|(id, _)| (name.to_owned(), id))
        });
        held.filter(|(name, id)| name != IT && self.shell.session().is_open(*id)).collect()
    }
}

/// The functions of a script, with their parameters.
pub(super) fn functions(ast: &AST) -> Vec<(String, Vec<String>)> {
    let owned = |function: rhai::ScriptFnMetadata<'_>| {
        let params = function.params.iter().map(|param| (*param).to_owned()).collect();
        (function.name.to_owned(), params)
    };
    ast.iter_functions().map(owned).filter(|(name, _)| !name.starts_with("anon$")).collect()
}

/// The methods and properties of a type: of the natives, and those that all handles have.
fn natives_of(kind: &str) -> impl Iterator<Item = &'static Native> {
    // What may be missing is of its type or `()`.
    let kind = kind.trim_end_matches(", or ()").to_owned();
    let common = handles::KINDS.iter().find(|handle| handle.name == kind).map(|handle| handle.verbs.natives);
    let common = common
        .unwrap_or_default()
        .iter()
        .filter(|native| native.name().starts_with(char::is_alphabetic) && !native.name().starts_with("to_"));
    let own = BINDINGS.iter().flat_map(|binding| binding.natives).filter(move |native| {
        native.form != Form::Function && native.op.split_once('.').is_some_and(|(owner, _)| owner == kind)
    });
    own.chain(common)
}

/// The option map that a call takes as argument `index` (the value of a method not counted), followed into by `keys`.
#[must_use]
pub fn options(native: &'static Native, index: usize, keys: &[String]) -> Option<&'static Options> {
    let skip = usize::from(native.form != Form::Function);
    let set = native.params.get(index + skip)?.options?;
    keys.iter().try_fold(set, |set, key| set.key(key)?.keys)
}
