seer_script(test_export COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/test_export.py)
seer_script(test_import COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/test_import.py)
seer_script(test_hub COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/test_hub.py)
