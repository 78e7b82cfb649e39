# The frontend against scripted workers and a scripted supervisor.
if(TARGET myelin-frontend)
    add_executable(fake_worker ${CMAKE_CURRENT_LIST_DIR}/fake_worker.c)
    target_link_libraries(fake_worker PRIVATE myelin_kit)
    add_test(NAME worker/frontend
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_frontend.py $<TARGET_FILE:myelin-frontend> $<TARGET_FILE:fake_worker>)
    set_tests_properties(worker/frontend PROPERTIES LABELS worker TIMEOUT 300)
endif()
