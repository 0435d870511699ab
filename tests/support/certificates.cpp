#include "support/certificates.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <stdexcept>

namespace outrigger::test {
namespace {

void demand(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("certificate: ") + what);
}

void add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  demand(extension != nullptr, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

template <typename Write>
std::string write_pem(const std::string& path, const Write& write) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  demand(file != nullptr, path.c_str());
  const bool done = write(file) == 1;
  std::fclose(file);
  demand(done, path.c_str());
  return path;
}

}  // namespace

void Certificate::Free::operator()(X509* pointer) const { X509_free(pointer); }
void Certificate::Free::operator()(EVP_PKEY* pointer) const { EVP_PKEY_free(pointer); }

Certificate make_certificate(const std::string& folder, const CertificateWish& wish) {
  constexpr long day = 24L * 3600;
  static long serial = 1;
  Certificate out;
  out.key.reset(EVP_EC_gen("P-256"));
  out.certificate.reset(X509_new());
  X509* x509 = out.certificate.get();
  demand(out.key != nullptr && x509 != nullptr, "no memory");
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x509), wish.from_days * day);
  X509_gmtime_adj(X509_getm_notAfter(x509), wish.to_days * day);
  X509_set_pubkey(x509, out.key.get());
  X509_NAME* subject = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wish.name.c_str()), -1, -1, 0);
  const bool authority = wish.issuer == nullptr;
  X509* issuer = authority ? x509 : wish.issuer->certificate.get();
  X509_set_issuer_name(x509, X509_get_subject_name(issuer));
  add_extension(x509, issuer, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!authority) add_extension(x509, issuer, NID_subject_alt_name, "IP:127.0.0.1,IP:::1");
  EVP_PKEY* signer = authority ? out.key.get() : wish.issuer->key.get();
  demand(X509_sign(x509, signer, EVP_sha256()) > 0, "cannot sign");
  out.certificate_file = write_pem(folder + "/" + wish.name + ".pem",
                                   [&](std::FILE* file) { return PEM_write_X509(file, x509); });
  out.key_file = write_pem(folder + "/" + wish.name + ".key", [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, out.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return out;
}

}  // namespace outrigger::test
