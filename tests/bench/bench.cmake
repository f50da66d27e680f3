find_program(BATS bats)
seer_script(bench COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/bench.bats)
