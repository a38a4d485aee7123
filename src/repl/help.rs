//! Help by name. TEMPORARY until script::help is there.
use crate::script::bind::BINDINGS;

pub(super) fn names() -> Vec<String> {
    BINDINGS.iter().flat_map(|binding| binding.natives.iter().map(|native| native.op.to_owned())).collect()
}
pub(super) fn page(name: &str, _width: usize, _colour: bool) -> Result<String, String> {
    let native = BINDINGS.iter().flat_map(|binding| binding.natives).find(|native| native.op == name);
    native.map(|native| native.doc.join("\n")).ok_or_else(|| format!("nothing is called `{name}`"))
}
pub(super) fn calls_of(_op: &str) -> Vec<String> {
    Vec::new()
}
pub(super) fn summary(op: &str) -> Option<String> {
    let native = BINDINGS.iter().flat_map(|binding| binding.natives).find(|native| native.op == op)?;
    native.doc.first().map(|line| line.trim().to_owned())
}
