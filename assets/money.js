// Formats money as the pages do: "14.99 EUR". Amounts are integers in minor units, so sums are exact.

export function money(minorUnits, currency, decimals) {
  const unit = 10 ** decimals;
  const whole = Math.trunc(minorUnits / unit);
  if (decimals === 0) return `${whole} ${currency}`;
  return `${whole}.${String(minorUnits % unit).padStart(decimals, "0")} ${currency}`;
}
