# The script ends itself earlier; the limit is for SEER_TEST_LONG=1. Timing is part of it: it runs alone.
seer_script(chaos COMMAND python3 ${FRAGMENT_DIR}/chaos.py TIMEOUT 3600)
set_tests_properties(chaos.chaos PROPERTIES RUN_SERIAL ON)
