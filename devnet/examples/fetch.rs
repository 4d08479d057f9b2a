//! Gets anvil and the contracts' bytecode, so that tests find them: `cargo run -p devnet --example fetch`.

fn main() {
    match devnet::fetch(None) {
        Ok(parts) => println!(
            "anvil: {}\ncontracts: {}",
            parts.anvil.display(),
            parts.contracts.display()
        ),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
