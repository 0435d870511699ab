# All are packages of Debian; docs/decisions/dependencies.md gives the reason for each.
find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(spdlog REQUIRED)
find_package(ZLIB REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)
# Header only. Its CMake package has another name in Debian 12 than in 13, and CMake does not find
# that of Debian 12.
find_path(MSGPACK_INCLUDE_DIR msgpack.hpp REQUIRED)
add_library(outrigger_msgpack INTERFACE)
target_include_directories(outrigger_msgpack SYSTEM INTERFACE ${MSGPACK_INCLUDE_DIR})
target_compile_definitions(outrigger_msgpack INTERFACE MSGPACK_NO_BOOST)
find_path(XBYAK_INCLUDE_DIR xbyak/xbyak.h REQUIRED)
if(OUTRIGGER_OPENMP)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
