//! Planted bugs: realistic mistakes that a simulation has to find, one switched on at a time. In a server nothing of this
//! exists: [`Faults`] is then a type without content, and every question a constant `false`.

#[cfg(any(test, feature = "planted-bugs"))]
mod switch {
    /// Which mistake is planted, if any.
    #[derive(Clone, Copy, Debug)]
    pub struct Faults<F>(Option<F>);

    impl<F: Copy + PartialEq> Faults<F> {
        pub const NONE: Self = Self(None);

        pub const fn plant(fault: F) -> Self {
            Self(Some(fault))
        }

        #[inline]
        pub fn has(self, fault: F) -> bool {
            self.0 == Some(fault)
        }
    }
}

#[cfg(not(any(test, feature = "planted-bugs")))]
mod switch {
    use std::marker::PhantomData;

    /// No mistake can be planted in this build.
    #[derive(Clone, Copy, Debug)]
    pub struct Faults<F>(PhantomData<F>);

    impl<F: Copy + PartialEq> Faults<F> {
        pub const NONE: Self = Self(PhantomData);

        #[inline]
        pub const fn has(self, _: F) -> bool {
            false
        }
    }
}

pub use switch::Faults;

impl<F: Copy + PartialEq> Default for Faults<F> {
    fn default() -> Self {
        Self::NONE
    }
}
