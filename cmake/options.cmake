# Compiler flags shared by all targets, as the interface library outrigger_options.
add_library(outrigger_options INTERFACE)
target_compile_options(outrigger_options INTERFACE
  -Wall -Wextra -Wpedantic $<$<NOT:$<BOOL:$<TARGET_PROPERTY:OUTRIGGER_MAY_SHADOW>>>:-Wshadow>
  -Wconversion -Wno-sign-conversion -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # At -O3, GCC 12 and 13 warn of bytes that copies of boost::container::small_vector never touch
  # (gcc bugs 105329, 105651 and similar ones). GCC 14 does so at -O2, too, and of std::string. The
  # builds with sanitizers find real faults.
  set(wrong -Wno-stringop-overread -Wno-stringop-overflow -Wno-array-bounds -Wno-restrict)
  set(configurations Release)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 14)
    list(APPEND configurations RelWithDebInfo)
  endif()
  list(JOIN configurations "," configurations)
  target_compile_options(outrigger_options INTERFACE "$<$<CONFIG:${configurations}>:${wrong}>")
endif()
if(OUTRIGGER_SANITIZE)
  target_compile_options(outrigger_options INTERFACE
    -fsanitize=${OUTRIGGER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(outrigger_options INTERFACE -fsanitize=${OUTRIGGER_SANITIZE})
  if(OUTRIGGER_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio's fences, which TSan does not see; what they order is ordered by mutexes too.
    target_compile_options(outrigger_options INTERFACE -Wno-tsan)
  endif()
endif()

if(OUTRIGGER_FUZZ)
  # Coverage for libFuzzer in every layer; only the harnesses link its main().
  target_compile_options(outrigger_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# outrigger_library(name [UNITY] SOURCES … LINK … HEADERS …): one layer of the server. HEADERS are
# precompiled, because a compiler reads them slowly. With UNITY, eight sources are compiled as one:
# they instantiate the same templates. clang-tidy sees each source alone.
function(outrigger_library name)
  cmake_parse_arguments(ARG "UNITY" "" "SOURCES;LINK;HEADERS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/server)
  target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE outrigger_options)
  target_precompile_headers(${name} PRIVATE
    <algorithm> <array> <cstdint> <functional> <memory> <optional> <span> <string> <unordered_map>
    <utility> <variant> <vector> ${ARG_HEADERS})
  if(ARG_UNITY AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()
