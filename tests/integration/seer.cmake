seer_script(seer COMMAND bats ${FRAGMENT_DIR}/seer.bats)
