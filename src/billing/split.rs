//! Dividing a price among those who share it: no cent lost, none made.

use super::{BasisPoints, Cents};

/// Each payer's part of `amount`, which is not negative: rounded down, and the cents that are left one each to whom rounding took most
/// from; the lower row first where it took the same. In the order of `shares`.
pub fn split(amount: Cents, shares: &[(i64, BasisPoints)]) -> Vec<(i64, Cents)> {
    let whole: i128 = shares.iter().map(|(_, share)| i128::from(share.get())).sum();
    if whole == 0 {
        return vec![];
    }
    let exact = |share: BasisPoints| i128::from(amount.0) * i128::from(share.get());
    let mut parts: Vec<(i64, i128)> = shares.iter().map(|(payer, share)| (*payer, exact(*share).div_euclid(whole))).collect();
    let left = i128::from(amount.0) - parts.iter().map(|(_, part)| part).sum::<i128>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|&n| shares.get(n).map(|(payer, share)| (-exact(*share).rem_euclid(whole), *payer)));
    for n in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some((_, part)) = parts.get_mut(n) {
            *part += 1;
        }
    }
    // No part is more than the whole amount.
    parts.into_iter().map(|(payer, part)| (payer, Cents(i64::try_from(part).unwrap_or(amount.0)))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bp(n: i64) -> BasisPoints {
        n.try_into().unwrap()
    }

    #[test]
    fn the_odd_cent_goes_to_whom_rounding_took_most_from() {
        assert_eq!(split(Cents(256), &[(1, bp(6_000)), (2, bp(4_000))]), [(1, Cents(154)), (2, Cents(102))]);
        assert_eq!(split(Cents(321), &[(9, bp(5_000)), (2, bp(5_000))]), [(9, Cents(160)), (2, Cents(161))]);
        assert_eq!(split(Cents(1), &[(1, bp(3_333)), (2, bp(3_333)), (3, bp(3_334))]), [(1, Cents(0)), (2, Cents(0)), (3, Cents(1))]);
        assert_eq!(split(Cents(5), &[]), []);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole_whatever_the_order(
            amount in 0i64..1_000_000, shares in proptest::collection::btree_map(1i64..50, 1i64..=10_000, 1..5), turn in 0usize..5,
        ) {
            let shares: Vec<_> = shares.into_iter().map(|(payer, share)| (payer, bp(share))).collect();
            let parts = split(Cents(amount), &shares);
            prop_assert_eq!(parts.iter().map(|(_, part)| part.0).sum::<i64>(), amount);
            let whole: i64 = shares.iter().map(|(_, s)| i64::from(s.get())).sum();
            for ((_, part), (_, share)) in parts.iter().zip(&shares) {
                // Never more than a cent away from the exact part.
                let off = part.0 * whole - amount * i64::from(share.get());
                prop_assert!(off.abs() < whole, "{off}");
            }
            let mut turned = shares.clone();
            let by = turn % shares.len();
            turned.rotate_left(by);
            let mut again = split(Cents(amount), &turned);
            again.sort();
            let mut parts = parts;
            parts.sort();
            prop_assert_eq!(again, parts);
        }
    }
}
