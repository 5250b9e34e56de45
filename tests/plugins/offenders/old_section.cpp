// A plugin of a dtk whose descriptors stood in another section.
#include <dtk/schedule.hpp>

namespace {
struct OldSection final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

static constexpr dtk::Descriptor old_section{DTK_BUILD_TEXT, "old_section", "an older descriptor",
                                             &dtk::detail::Make<dtk::Schedule, OldSection>::configure,
                                             &dtk::detail::Make<dtk::Schedule, OldSection>::create};
BOOST_DLL_ALIAS_SECTIONED(old_section, DTK_JOIN(Schedule, old_section, DTK_Schedule_VERSION, DTK_BUILD_ID, ), dtk1)
