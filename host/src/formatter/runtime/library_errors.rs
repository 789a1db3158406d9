//! The errors that a library tells apart by their text only. Each test pins a text to the locked version of the
//! library, so that an upgrade that rewords it fails here and not in a user's message.

/// True if lifting a guest's values exhausted the fuel for copies between guest and host. wasmtime has no type for
/// this error (`component/func/options.rs`).
pub(super) fn is_hostcall_fuel(error: &wasmtime::Error) -> bool {
    has_text(error, "fuel allocated for hostcalls has been exhausted")
}

/// True if mprotect(2) denied executable memory. wasmtime's error is the system call's, which other calls return
/// too; only its context names the purpose (`code_memory.rs`).
pub(super) fn is_not_executable(error: &wasmtime::Error) -> bool {
    has_text(error, "unable to make memory executable")
}

fn has_text(error: &wasmtime::Error, text: &str) -> bool {
    error.chain().any(|cause| cause.to_string().contains(text))
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Linker};
    use wasmtime::{Config, Engine, Store};

    use super::*;

    /// Returns a string of 64 KiB.
    const LARGE_RESULT: &str = r#"(component
        (core module $m
            (memory (export "memory") 2)
            (func (export "f") (result i32)
                (i32.store (i32.const 0) (i32.const 8))
                (i32.store (i32.const 4) (i32.const 65536))
                (i32.const 0)))
        (core instance $i (instantiate $m))
        (func (export "f") (result string)
            (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#;

    fn engine() -> Engine {
        let mut config = Config::new();
        config.concurrency_support(false);
        Engine::new(&config).expect("an engine")
    }

    fn component(engine: &Engine) -> wasmtime::Result<Component> {
        Component::new(engine, wat::parse_str(LARGE_RESULT).expect("valid text"))
    }

    #[test]
    fn hostcall_fuel_is_recognised() {
        let engine = engine();
        let mut store = Store::new(&engine, ());
        store.set_hostcall_fuel(1024);
        let component = component(&engine).expect("compiled");
        let instance = Linker::new(&engine).instantiate(&mut store, &component).expect("an instance");
        let function = instance.get_typed_func::<(), (String,)>(&mut store, "f").expect("the function");
        let error = function.call(&mut store, ()).expect_err("64 KiB exceed 1 KiB of fuel");
        assert!(is_hostcall_fuel(&error) && !is_not_executable(&error), "{error:#}");
    }

    /// prctl(2) option since Linux 6.3: deny executable memory, and ask whether it is denied.
    const PR_SET_MDWE: libc::c_int = 65;
    const PR_GET_MDWE: libc::c_int = 66;
    const REFUSE_EXEC_GAIN: libc::c_ulong = 1;

    fn prctl(option: libc::c_int, argument: libc::c_ulong) -> libc::c_int {
        let zero: libc::c_ulong = 0;
        // SAFETY: no memory is involved.
        unsafe { libc::prctl(option, argument, zero, zero, zero) }
    }

    /// The denial lasts as long as a process, so a child gets it: this test program, with the one test below.
    #[test]
    fn denied_executable_memory_is_recognised() {
        use std::os::unix::process::CommandExt as _;
        let program = std::env::current_exe().expect("this program");
        let test = concat!(module_path!(), "::in_a_process_without_executable_memory");
        let test = test.split_once("::").map_or(test, |(_, path)| path);
        let mut child = std::process::Command::new(program);
        child.args([test, "--exact"]);
        // SAFETY: prctl(2) is safe between fork and exec.
        unsafe {
            child.pre_exec(|| {
                prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN);
                Ok(())
            });
        }
        let output = child.output().expect("a child");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    fn in_a_process_without_executable_memory() {
        // Not the child, or a kernel without this switch.
        if prctl(PR_GET_MDWE, 0) <= 0 {
            return;
        }
        let error = component(&engine()).expect_err("executable memory is denied");
        assert!(is_not_executable(&error) && !is_hostcall_fuel(&error), "{error:#}");
    }
}
