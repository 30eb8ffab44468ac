// Constants of the fixed polynomials in numeric.h, shared by the scalar and the vector evaluations.
#pragma once

namespace fewbit {

// gelu(x) = max(x, 0) - r(|x|) with r(a) = a (1 - erf(a / sqrt 2)) / 2, which rises to 0.17 and falls to nothing.
// r is cut into 32 segments centred at n / 6, n = 0..31, so that rounding 6 a to the nearest integer finds the segment
// and leaves f = 6 a - n in [-1/2, 1/2]:
//   r = ((kGelu[3][n] f + kGelu[2][n]) f + kGelu[1][n]) f + kGelu[0][n]
// Minimax cubics: error below 3.8e-7 (segment 1 is the worst). Two segments differ:
//   n = 0   f >= 0; value 0 and slope 1/2 are fixed, so that gelu(x) -> x / 2 with a small relative error as x -> 0
//   n = 31  zero: beyond 30.5 / 6 = 5.08 gelu is max(x, 0), an error of 9.4e-7 there and less beyond
// The slope of gelu is r' left of 0 and 1 - r' right of it, r' = 6 ((3 kGelu[3][n] f + 2 kGelu[2][n]) f + kGelu[1][n]).
constexpr int kGeluSegments = 32;
constexpr float kGeluSegmentsPerUnit = 6.0f;

// clang-format off
alignas(64) inline constexpr float kGelu[4][kGeluSegments] = {
    {0.0f, 0.0723023191f, 0.12314681f, 0.154268563f, 0.16832827f, 0.168607011f, 0.158655375f, 0.141951442f,
     0.121615179f, 0.100211017f, 0.079650782f, 0.0611904189f, 0.0455003716f, 0.0327820368f, 0.0229024626f, 0.0155241666f,
     0.0102143344f, 0.00652589835f, 0.00404966949f, 0.00244142907f, 0.0014301819f, 0.000814186817f, 0.000450499152f, 0.000242294496f,
     0.000126679981f, 6.43897656e-05f, 3.18196107e-05f, 1.52884331e-05f, 7.14231373e-06f, 3.2444259e-06f, 1.43308773e-06f, 0.0f},
    {0.0833333358f, 0.0613738224f, 0.0406078398f, 0.0220841691f, 0.00658789044f, -0.00543300901f, -0.0138858957f, -0.0189987626f,
     -0.0212448109f, -0.0212448686f, -0.0196674857f, -0.017143447f, -0.0142053096f, -0.0112556545f, -0.00856151991f, -0.00626851851f,
     -0.00442648819f, -0.00301900366f, -0.00199094112f, -0.00127062819f, -0.000785310811f, -0.000470292551f, -0.00027302024f, -0.000153703921f,
     -8.39411732e-05f, -4.44816251e-05f, -2.2877075e-05f, -1.14214035e-05f, -5.53619111e-06f, -2.60579009e-06f, -1.19113474e-06f, 0.0f},
    {-0.0110891201f, -0.0107650645f, -0.00989068206f, -0.00855060294f, -0.00689886417f, -0.005112682f, -0.0033645872f, -0.00179838552f,
     -0.000513162056f, 0.000442757882f, 0.00106842292f, 0.00139988738f, 0.00149627693f, 0.00142568536f, 0.00125349802f, 0.00103455747f,
     0.000809411111f, 0.000603996566f, 0.000431656896f, 0.000296307349f, 0.000195780623f, 0.000124715298f, 7.66893718e-05f, 4.55665904e-05f,
     2.61819168e-05f, 1.45574459e-05f, 7.83673204e-06f, 4.08649021e-06f, 2.06491109e-06f, 1.01142405e-06f, 4.80366054e-07f, 0.0f},
    {3.99224009e-05f, 0.000200670649f, 0.00037690415f, 0.00050863222f, 0.000583508285f, 0.000598517654f, 0.000559599022f, 0.000479548442f,
     0.000374871684f, 0.000262420624f, 0.000156571594f, 6.74406474e-05f, 2.89085847e-07f, -4.40376098e-05f, -6.79917794e-05f, -7.59404502e-05f,
     -7.28723171e-05f, -6.34217868e-05f, -5.12944716e-05f, -3.90630485e-05f, -2.82345754e-05f, -1.94706918e-05f, -1.285701e-05f, -8.15079329e-06f,
     -4.97073415e-06f, -2.92056552e-06f, -1.6552583e-06f, -9.05821025e-07f, -4.79011646e-07f, -2.44944516e-07f, -1.21186062e-07f, 0.0f},
};
// clang-format on

// Adding this to |x| < 2^22 rounds x to an integer (half to even), which then stands in the low bits of the sum.
constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23

// exp(x) = 2^n e^r with n = rne(x / ln 2) and r = x - n ln 2, |r| <= 0.3467; ln 2 in two pieces, the first with enough
// trailing zero bits that n * kLn2High is exact. e^r = 1 + r + kExp[0] r^2 + ... + kExp[4] r^6, relative error below 2e-9
// (weighted minimax with the constant 1, so that exp(0) is exactly 1); rounding adds about 1e-7.
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;
constexpr float kExpLowest = -87.0f;  // n >= -126 and 2^n e^r >= 1.6e-38 is normal
inline constexpr float kExp[5] = {0.49999994f, 0.166664317f, 0.0416680016f, 0.00837416295f, 0.00138436444f};

}  // namespace fewbit
