# The keys worker among real workers and scripted servers.
if(NOT TARGET bus_call)
    add_executable(bus_call ${CMAKE_CURRENT_LIST_DIR}/bus_call.c)
    target_link_libraries(bus_call PRIVATE myelin_kit)
endif()
if(TARGET myelin-keys)
    myelin_worker_classes(keys ${CMAKE_CURRENT_LIST_DIR}/test_keys.py 40 ${CMAKE_BINARY_DIR})
endif()
