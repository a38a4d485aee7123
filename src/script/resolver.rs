//! What `import "…"` finds: modules of the standard library, embedded in the program, and files relative to the
//! file that imports them. Each is loaded once.

use crate::error::{Error, ErrorKind};
use crate::script::error::{self, Place};
use crate::script::options::did_you_mean;
use crate::script::shell::Shell;
use crate::script::source;
use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The name and the text of a module in `stdlib/std`.
macro_rules! std_module {
    ($name:literal) => {
        (concat!("std/", $name), include_str!(concat!("../../stdlib/std/", $name, ".rhai")))
    };
}

/// The modules of the standard library with their texts, sorted.
pub const STD: &[(&str, &str)] = &[
    std_module!("escape"),
    std_module!("escape/files"),
    std_module!("escape/kernel"),
    std_module!("escape/limits"),
    std_module!("escape/processes"),
    std_module!("escape/runtime"),
    std_module!("expect"),
    std_module!("retry"),
    std_module!("sees"),
];

const OP: &str = "import";

/// Where an import leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A module of the standard library: its index in [`STD`].
    Std(usize),
    /// A file.
    File(PathBuf),
}

impl Target {
    /// Where `import "path"` in the source `importer` leads.
    ///
    /// # Errors
    /// When there is no such module or file.
    pub fn of(path: &str, importer: &str) -> Result<Self, Error> {
        if path.starts_with("std/") {
            let found = STD.iter().position(|(name, _)| *name == path);
            return found.map(Self::Std).ok_or_else(|| {
                let near = did_you_mean(path, STD.iter().map(|(name, _)| *name));
                let what = format!("the standard library has no module of this name{near}");
                Error::new(ErrorKind::NotFound, OP, what).subject(path)
            });
        }
        let folder = Path::new(importer).parent().filter(|_| !importer.starts_with('<'));
        let mut file = folder.map_or_else(PathBuf::new, Path::to_path_buf);
        file.push(path);
        if file.extension().is_none() {
            file.set_extension("rhai");
        }
        if file.is_file() {
            return Ok(Self::File(file));
        }
        Err(Error::new(ErrorKind::NotFound, OP, "there is no such file")
            .subject(file.display())
            .path(&file)
            .hint("a path in `import` is relative to the file that has it; `.rhai` is added when it has no extension"))
    }

    /// The name of the source, for messages: `lib/util.rhai` or `<std/retry>`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Std(index) => format!("<{}>", STD[*index].0),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The text.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<String, Error> {
        match self {
            Self::Std(index) => Ok(STD[*index].1.to_owned()),
            Self::File(path) => source::read(path),
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Resolver {
    shell: Rc<Shell>,
    loaded: RefCell<BTreeMap<String, Shared<Module>>>,
    loading: RefCell<Vec<String>>,
}

type Loaded<T> = Result<T, Box<EvalAltResult>>;

impl Resolver {
    /// A resolver that remembers the texts it reads in `shell`.
    #[must_use]
    pub fn new(shell: Rc<Shell>) -> Self {
        Self { shell, loaded: RefCell::default(), loading: RefCell::default() }
    }

    fn load(&self, engine: &Engine, target: &Target, position: Position) -> Loaded<Module> {
        let name = target.name();
        // What goes wrong inside is told with the place of the import and the place inside.
        let inside = |inner| Box::new(EvalAltResult::ErrorInModule(name.clone(), inner, position));
        let text = target.read().map_err(|error| error::raise(error, None, position))?;
        let ast = source::compile(engine, &self.shell, &name, &text)
            .map_err(|error| inside(Box::new(EvalAltResult::from(error))))?;
        Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(inside)
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Loaded<Shared<Module>> {
        let source = source.unwrap_or_else(|| self.shell.script()).to_owned();
        let real = self.shell.lines().real(Place { source, position });
        let importer = real.source.as_str();
        let raise = |error| error::raise(error, Some(importer), real.position);
        let target = Target::of(path, importer).map_err(raise)?;
        let key = match &target {
            Target::Std(_) => target.name(),
            Target::File(file) => {
                std::fs::canonicalize(file).unwrap_or_else(|_| file.clone()).display().to_string()
            }
        };
        if let Some(module) = self.loaded.borrow().get(&key) {
            return Ok(module.clone());
        }
        if self.loading.borrow().contains(&key) {
            let what = "the file is imported while it is being loaded: two files import each other";
            return Err(raise(Error::new(ErrorKind::InvalidArgument, OP, what).subject(target.name())));
        }
        self.loading.borrow_mut().push(key.clone());
        let module = self.load(engine, &target, position);
        self.loading.borrow_mut().pop();
        let module: Shared<Module> = module?.into();
        self.loaded.borrow_mut().insert(key, module.clone());
        Ok(module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_modules_are_the_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib");
        let mut files = Vec::new();
        let mut folders = vec![root.join("std")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        files.sort();
        let mut embedded: Vec<String> = STD.iter().map(|(name, _)| format!("{name}.rhai")).collect();
        embedded.sort();
        assert_eq!(embedded, files);
        for (name, text) in STD {
            assert_eq!(*text, std::fs::read_to_string(root.join(format!("{name}.rhai"))).unwrap(), "{name}");
        }
    }
}
