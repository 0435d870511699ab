#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>

namespace outrigger::test {

/// A certificate and its key, in files of PEM form and in memory.
struct Certificate {
  struct Free {
    void operator()(X509* pointer) const;
    void operator()(EVP_PKEY* pointer) const;
  };
  std::string certificate_file;
  std::string key_file;
  std::unique_ptr<X509, Free> certificate;
  std::unique_ptr<EVP_PKEY, Free> key;
};

struct CertificateWish {
  std::string name;                     ///< of the files too
  const Certificate* issuer = nullptr;  ///< null: signs itself, as an authority does
  int from_days = -1;                   ///< valid from now on + this …
  int to_days = 1;                      ///< … to then
};

/// Makes a certificate for 127.0.0.1 and ::1 in this folder.
Certificate make_certificate(const std::string& folder, const CertificateWish& wish);

}  // namespace outrigger::test
