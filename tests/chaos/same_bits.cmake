seer_script(same_bits COMMAND python3 ${FRAGMENT_DIR}/same_bits.py TIMEOUT 1800)
seer_script(sharded_bits COMMAND python3 ${FRAGMENT_DIR}/sharded_bits.py TIMEOUT 1800)
