// Money as the pages write it: "14.99 EUR". Amounts are whole minor units, so adding them up is exact.

export function money(minorUnits, currency, decimals) {
  const unit = 10 ** decimals;
  const whole = Math.trunc(minorUnits / unit);
  if (decimals === 0) return `${whole} ${currency}`;
  return `${whole}.${String(minorUnits % unit).padStart(decimals, "0")} ${currency}`;
}
