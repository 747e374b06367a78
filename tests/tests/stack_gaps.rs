//! An executable whose segments leave pages free between them, as linkers make it now and then, is walked like any other.

#[test]
fn stacks_are_whole_where_the_executable_has_holes() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stack_gaps"))
        .env("ALLOCSCOPE_MODE", "exact")
        .output()
        .expect("the program was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"ok\n");
}
