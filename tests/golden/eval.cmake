seer_script(test_eval COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/test_eval.py)
seer_script(test_probes COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/test_probes.py TIMEOUT 300)
seer_script(test_finetune COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/test_finetune.py TIMEOUT 300)
