# sync in a whole system of two replicas: scenarios, and random histories on both paths of /sync.
if(TARGET myelin AND TARGET myelin-sync AND TARGET myelin-accounts AND TARGET myelin-frontend)
    add_test(NAME worker/sync COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_sync.py $<TARGET_FILE_DIR:myelin> ${CMAKE_SOURCE_DIR})
    set_tests_properties(worker/sync PROPERTIES LABELS worker TIMEOUT 300 COST 16 ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
endif()
