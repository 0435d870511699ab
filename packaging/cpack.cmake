# The Debian package of the server, from a folder with its files: packaging/deb.sh runs
#   OUTRIGGER_STAGE=FOLDER cpack --config packaging/cpack.cmake -D CPACK_PACKAGE_VERSION=…
set(CPACK_GENERATOR DEB)
set(CPACK_INSTALLED_DIRECTORIES "$ENV{OUTRIGGER_STAGE};/")
set(CPACK_PACKAGING_INSTALL_PREFIX /)
set(CPACK_PACKAGE_NAME outrigger-server)
set(CPACK_PACKAGE_VENDOR Outrigger)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "server of mutable tensors for number crunching")
string(CONCAT CPACK_PACKAGE_DESCRIPTION
       "A daemon that holds tensors in its own memory and runs batched programs of ops on them,\n"
       "for clients over Unix sockets, TCP and TLS. outriggerctl asks and watches it.")
set(CPACK_PACKAGE_CONTACT "The Outrigger developers <https://github.com/outrigger-ex/outrigger>")
set(CPACK_PACKAGE_FILE_NAME outrigger-server)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE https://github.com/outrigger-ex/outrigger)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "$ENV{OUTRIGGER_STAGE}/usr/lib/outrigger")
# The daemon loads it with the first linear algebra, so that no program names it.
set(CPACK_DEBIAN_PACKAGE_DEPENDS libopenblas0-openmp)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_LIST_DIR}/conffiles")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES OFF)
