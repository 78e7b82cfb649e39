# Every database trip of an operation is lost once (STYLE §10): a whole server, with a proxy in front of PostgreSQL.
if(TARGET myelin-rooms AND TARGET myelin AND TARGET myelin-frontend)
    add_test(NAME worker/torture COMMAND ${Python3_EXECUTABLE} -W ignore ${CMAKE_CURRENT_LIST_DIR}/test_torture.py ${CMAKE_BINARY_DIR})
    set_tests_properties(worker/torture PROPERTIES LABELS worker TIMEOUT 300 COST 6)
endif()
if(TARGET myelin-rooms AND TARGET myelin AND TARGET myelin-frontend)
    add_test(NAME worker/torture_peer COMMAND ${Python3_EXECUTABLE} -W ignore ${CMAKE_CURRENT_LIST_DIR}/test_torture_peer.py ${CMAKE_BINARY_DIR})
    set_tests_properties(worker/torture_peer PROPERTIES LABELS worker TIMEOUT 300 COST 16)
endif()
