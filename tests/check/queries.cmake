# Every queries.sql against a throw-away PostgreSQL with our schema; the generator against good and bad input.
add_executable(migrate_database ${CMAKE_CURRENT_SOURCE_DIR}/migrate_database.c)
target_link_libraries(migrate_database PRIVATE myelin_kit)
add_test(NAME check/queries COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/queries ${CMAKE_SOURCE_DIR} $<TARGET_FILE:migrate_database>)
add_test(NAME check/generate_queries COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/generate_queries ${CMAKE_SOURCE_DIR})
set_tests_properties(check/queries check/generate_queries PROPERTIES LABELS check TIMEOUT 300)
