find_program(BATS bats)
seer_script(ingest_watch TIMEOUT 300 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/ingest_watch.bats)
seer_script(ingest TIMEOUT 300 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/ingest.bats)
