seer_script(seer COMMAND bats ${FRAGMENT_DIR}/seer.bats TIMEOUT 300)
seer_script(completion COMMAND bats ${FRAGMENT_DIR}/completion.bats)
seer_script(package COMMAND ${FRAGMENT_DIR}/package.sh TIMEOUT 1800)
