"""Analysis of trained encoders: CKA between layers, GradCAM, comparisons on test patches."""
