seer_test(test_helper LIBS collective)
seer_test(test_snapshot_file LIBS worker)
seer_test(test_snapshot_push LIBS worker LABELS threads)
seer_test(test_handover LIBS worker LABELS threads)
