# The database's life in a whole system: logins of workers, what goes by itself, what a user may not have more of.
if(TARGET myelin AND TARGET myelin-events AND TARGET myelin-accounts AND TARGET myelin-federation AND TARGET myelin-keys AND TARGET myelin-sender)
    add_test(NAME worker/database COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_database.py $<TARGET_FILE_DIR:myelin> ${CMAKE_SOURCE_DIR})
    set_tests_properties(worker/database PROPERTIES LABELS worker TIMEOUT 300 COST 12 ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
endif()
