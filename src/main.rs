//! The `portreeve` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    portreeve::cli::main()
}
