# What call_faults.c can make fail; everything that our code calls of it goes by way of there.
set(FAULTY_CALLS accept4 access bind connect dup2 eventfd execvpe fopen fork fstat ftruncate getsockopt listen memfd_create
    mkdir mmap open pipe2 poll pthread_create read readlink recv recvmsg send sendmsg setpgid shutdown signalfd socket
    syscall waitpid zmq_connect zmq_ctx_new zmq_msg_recv zmq_poll zmq_recv zmq_send zmq_setsockopt zmq_socket
    zmq_socket_monitor)
list(TRANSFORM FAULTY_CALLS PREPEND "-Wl,--wrap=" OUTPUT_VARIABLE wrap_options)

foreach(what link helpers collective)
    seer_test(test_${what}_faults SOURCES test_${what}_faults.c lives.c call_faults.c LIBS server worker TIMEOUT 120)
    target_link_options(test_${what}_faults PRIVATE ${wrap_options})
endforeach()
