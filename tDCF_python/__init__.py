"""Equal error rate, tandem detection cost and further metrics of anti-spoofing scores.

Written from the formulas of T. Kinnunen et al., "t-DCF: a detection cost function for the tandem
assessment of spoofing countermeasures and automatic speaker verification", Odyssey 2018, and
"Tandem assessment of spoofing countermeasures and automatic speaker verification: fundamentals",
IEEE/ACM TASLP 28, 2020.
"""
