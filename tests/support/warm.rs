//! Hosts that need not compile the built-in formatters: a new data folder gets the master key of a host that ran before,
//! and the machine code that it compiled. Compiling takes seconds, and a run of the tests starts hundreds of hosts.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use super::host::{Options, binary, new_folder};

const KEY: &str = "master.key";
const COMPONENTS: &str = "components";
/// Machine code.
const CODE: &str = "cwasm";
/// The record that a component passed its trial on the samples.
const ADMISSION: &str = "fits";

/// Fills the data folder of a host that starts for the first time, unless its test wants a cold start or brings files
/// or a master key of its own.
pub(super) fn prepare(options: &Options, folder: &Path) {
    let data = folder.join("data");
    let has_key = options.environment.iter().any(|(name, _)| name == "HERALDRY_MASTER_KEY");
    if options.is_cold || has_key || !options.under.is_empty() || data.exists() {
        return;
    }
    let template = template();
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(data.join(COMPONENTS)).expect("a data folder");
    fs::copy(template.join(KEY), data.join(KEY)).expect("the master key");
    for file in files(&template.join(COMPONENTS)) {
        let target = data.join(COMPONENTS).join(file.file_name().expect("a name"));
        if file.extension().is_some_and(|kind| kind == CODE) {
            // A host replaces such a file and never writes into it.
            fs::hard_link(&file, target).expect("a link");
        } else {
            fs::copy(&file, target).expect("a copy");
        }
    }
}

/// The folder with a key and the code compiled under it, made by this binary once.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let built = fs::metadata(env!("CARGO_BIN_EXE_heraldry")).expect("the binary");
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("warm");
        let template = all.join(format!("{}-{}-{}", built.len(), built.mtime(), built.mtime_nsec()));
        fs::create_dir_all(&all).expect("a folder");
        let lock = fs::File::create(all.join("lock")).expect("a lock");
        lock.lock().expect("the lock");
        if !template.exists() {
            // Those of other builds are of no more use.
            for old in fs::read_dir(&all).expect("a folder").flatten().filter(|entry| entry.path().is_dir()) {
                fs::remove_dir_all(old.path()).expect("an old template goes");
            }
            make(&template);
        }
        template
    })
}

/// Runs a host until its formatters are compiled, and keeps what it made.
fn make(template: &Path) {
    let folder = new_folder();
    let data = folder.path().join("data");
    let mut command = binary(folder.path());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let printed: Vec<String> = lines.take_while(|line| !line.contains("the formatters are loaded")).collect();
    let running = child.try_wait().expect("a child").is_none();
    child.kill().expect("the signal is sent");
    child.wait().expect("it ends");
    assert!(running, "the host ended before its formatters were loaded:\n{}", printed.join("\n"));
    let half_made = template.with_extension("part");
    fs::create_dir_all(half_made.join(COMPONENTS)).expect("a folder");
    fs::copy(data.join(KEY), half_made.join(KEY)).expect("the master key");
    for file in files(&data.join(COMPONENTS)) {
        fs::copy(&file, half_made.join(COMPONENTS).join(file.file_name().expect("a name"))).expect("a file");
    }
    fs::rename(half_made, template).expect("the template");
}

/// The files of the code cache in a folder of components.
fn files(components: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(components).expect("the components' folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == CODE || kind == ADMISSION)).collect()
}
