#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace dtk {

/// After so many seconds without a touch a lease counts as abandoned: 60, or $DTK_LEASE_SECONDS. The owner touches it
/// twelve times as often.
double lease_seconds();

/// The right to work on something, told to all hosts by a file: made anew, so that one gets it, touched while the work
/// goes on, and taken over when its owner is dead (on this host) or has not touched it for long (on any).
class Lease {
 public:
    /// → nothing where somebody else has it.
    static std::optional<Lease> take(const std::filesystem::path& file);
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();
    /// Says that the owner lives. → false where the lease has been taken over.
    bool touch() const;

 private:
    Lease(std::filesystem::path file, std::string mark) : file_(std::move(file)), mark_(std::move(mark)) {}
    std::filesystem::path file_;
    std::string mark_;
};

}  // namespace dtk
