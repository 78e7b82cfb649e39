# The frontend against scripted workers and a scripted supervisor.
if(TARGET myelin-frontend)
    add_executable(fake_worker ${CMAKE_CURRENT_LIST_DIR}/fake_worker.c)
    target_link_libraries(fake_worker PRIVATE myelin_kit)
    myelin_worker_classes(frontend ${CMAKE_CURRENT_LIST_DIR}/test_frontend.py 20 $<TARGET_FILE:myelin-frontend> $<TARGET_FILE:fake_worker>)
endif()
