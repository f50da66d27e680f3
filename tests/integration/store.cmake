find_program(BATS bats)
seer_script(watch TIMEOUT 300 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/watch.bats)
seer_script(ingest TIMEOUT 300 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/ingest.bats)
